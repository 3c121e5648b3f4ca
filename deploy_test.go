package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// stopTime adds the limits of all steps of a stop, as serve.go has them: whoever stops the
// process has to wait for longer.
func stopTime(t *testing.T, c Config) (sum time.Duration) {
	t.Helper()
	source, err := os.ReadFile("serve.go")
	if err != nil {
		t.Fatal(err)
	}
	steps := regexp.MustCompile(`down\.add\("[^"]+", (?:cfg\.([\w.]+)\+)?(?:(\d+)\*)?time\.Second,`).FindAllSubmatch(source, -1)
	if want := bytes.Count(source, []byte("down.add(")); len(steps) != want || want == 0 {
		t.Fatalf("serve.go has %d steps, the limits of %d are understood", want, len(steps))
	}
	configured := map[string]time.Duration{
		"": 0, "HTTP.ShutdownDelay": c.HTTP.ShutdownDelay, "HTTP.ReplyTimeout": c.HTTP.ReplyTimeout, "Drain.Duration": c.Drain.Duration,
	}
	for _, s := range steps {
		part, ok := configured[string(s[1])]
		if !ok {
			t.Fatalf("unknown limit %s", s[0])
		}
		seconds := 1
		if len(s[2]) > 0 {
			seconds, _ = strconv.Atoi(string(s[2]))
		}
		sum += part + time.Duration(seconds)*time.Second
	}
	return sum
}

// loadWith loads the configuration that these variables make. Those that name a secret's
// file get one.
func loadWith(t *testing.T, variables map[string]string) Config {
	t.Helper()
	clean(t)
	known := []string{"GOMEMLIMIT", "PORT", "ORIGIN", "ALLOWED_ORIGINS", "REDIS_HOST", "REDIS_PORT"}
	usual := defaultConfig()
	for _, s := range settingsOf(&usual) {
		known = append(known, s.env())
		if s.secret() {
			known = append(known, s.env()+"_FILE")
		}
	}
	for name, value := range variables {
		if !slices.Contains(known, name) {
			t.Errorf("there is no variable %s", name)
		}
		if strings.HasSuffix(name, "_PASSWORD_FILE") {
			value = filepath.Join(t.TempDir(), "secret")
			if err := os.WriteFile(value, []byte("secret\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		t.Setenv(name, value)
	}
	return mustLoad(t)
}

// TestKubernetes: what the manifests set is configuration that starts, their ports are the
// bridge's, and nobody is killed before the stop is done. That they are Kubernetes' own
// types is e2e/manifests' business.
func TestKubernetes(t *testing.T) {
	var settings struct{ Data map[string]string }
	decodeFile(t, "deploy/kubernetes/configmap.yaml", &settings)
	var deployment struct {
		Spec struct {
			Template struct {
				Spec struct {
					Grace      int64 `yaml:"terminationGracePeriodSeconds"`
					Containers []struct {
						Env   []struct{ Name, Value string }
						Ports []struct {
							Name string
							Port string `yaml:"containerPort"`
						}
						VolumeMounts []struct {
							Path string `yaml:"mountPath"`
						} `yaml:"volumeMounts"`
					}
				}
			}
		}
	}
	decodeFile(t, "deploy/kubernetes/deployment.yaml", &deployment)
	var secret struct {
		Data map[string]string `yaml:"stringData"`
	}
	decodeFile(t, "deploy/kubernetes/secret.example.yaml", &secret)

	pod := deployment.Spec.Template.Spec
	container := pod.Containers[0]
	variables := settings.Data
	for _, e := range container.Env {
		if e.Value == "" {
			e.Value = "pod-1" // from a field
		}
		if strings.HasSuffix(e.Name, "_FILE") {
			if file := filepath.Base(e.Value); filepath.Dir(e.Value) != container.VolumeMounts[0].Path || secret.Data[file] == "" {
				t.Errorf("%s names %s, which the secret does not have", e.Name, e.Value)
			}
		}
		variables[e.Name] = e.Value
	}
	ports := map[string]string{}
	for _, p := range container.Ports {
		ports[p.Name] = ":" + p.Port
	}
	limit := stopTime(t, defaultConfig()) // before the variables, and in the directory of the sources
	c := loadWith(t, variables)
	if ports["http"] != c.HTTP.Addr || ports["ops"] != c.Ops.Addr {
		t.Errorf("ports are %v, the bridge listens on %s and %s", ports, c.HTTP.Addr, c.Ops.Addr)
	}
	limit += c.HTTP.ShutdownDelay + c.Drain.Duration - defaultConfig().Drain.Duration
	if grace := time.Duration(pod.Grace) * time.Second; grace < limit {
		t.Errorf("terminationGracePeriodSeconds is %v, a stop may take %v", grace, limit)
	}
	if w := c.warnings(); len(w) != 1 || !strings.Contains(w[0], "ops.keys") { // bounded by the network policy
		t.Errorf("it would start with warnings: %q", w)
	}
}

// TestSystemd: the unit's variables exist, it waits until the stop is done, and systemd
// itself takes it, where it is installed.
func TestSystemd(t *testing.T) {
	const unit, secrets = "deploy/systemd/socketbridge.service", "deploy/systemd/secrets.conf"
	variables := map[string]string{}
	var all []string
	for _, file := range []string{unit, secrets} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			all = append(all, strings.TrimSpace(line))
			if pair, ok := strings.CutPrefix(strings.TrimSpace(line), "Environment="); ok {
				name, value, _ := strings.Cut(pair, "=")
				variables[name] = value
			}
		}
	}
	at := slices.IndexFunc(all, func(l string) bool { return strings.HasPrefix(l, "TimeoutStopSec=") })
	wait, err := time.ParseDuration(strings.TrimPrefix(all[max(at, 0)], "TimeoutStopSec="))
	if limit := stopTime(t, defaultConfig()); err != nil || wait < limit {
		t.Errorf("TimeoutStopSec is %v (%v), a stop may take %v", wait, err, limit)
	}
	verify(t, unit)
	variables["NATS_USER"], variables["REDIS_HOST"] = "bridge", "redis" // whose passwords they are
	loadWith(t, variables)
}

// verify asks systemd. Its absence is no failure: it is no part of what tests need.
func verify(t *testing.T, unit string) {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Log("no systemd-analyze: the unit is not verified")
		return
	}
	text, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), filepath.Base(unit))
	text = bytes.ReplaceAll(text, []byte("ExecStart=/usr/local/bin/socketbridge"), []byte("ExecStart=/bin/true")) // which must exist
	if err := os.WriteFile(copied, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("systemd-analyze", "verify", copied).CombinedOutput(); err != nil || bytes.Contains(out, []byte(copied)) {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

func decodeFile(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err == nil {
		err = yaml.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}
