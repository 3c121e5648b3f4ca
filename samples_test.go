package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/codewar/socketbridge/internal/cli"
	"github.com/codewar/socketbridge/internal/config"
	"github.com/codewar/socketbridge/internal/testutil/launch"
)

// goodEntry is a valid entry of auth.api_keys and ops.keys.
var goodEntry = "judge:" + strings.Repeat("0a", 32)

// TestSamplesAreSafe loads what each sample configures as the process would: `check`
// accepts it, and nothing in it is open to others.
func TestSamplesAreSafe(t *testing.T) {
	samples := map[string]struct {
		variables map[string]string
		warnings  []string // the beginnings of those that remain
	}{
		// One machine: the networks of the containers are its own.
		"docker-compose.yml": {composeVariables(t), []string{"nats.url names nats:4222 without TLS", "redis.addrs names redis:6379 without TLS"}},
		"deploy/kubernetes":  {kubernetesVariables(t), nil},
		"deploy/systemd":     {systemdVariables(t), nil},
		".env.example":       {variablesOf(t, ".env.example", ""), []string{"auth.mode is none", "auth.api_keys is empty", "origins is empty"}},
	}
	for name, sample := range samples {
		t.Run(name, func(t *testing.T) {
			c := loadWith(t, sample.variables)
			for _, fault := range openings(c) {
				t.Error(fault)
			}
			var out, diag bytes.Buffer
			if code := cli.Run(t.Context(), []string{"check"}, &out, &diag); code != 0 {
				t.Errorf("check: exit status %d", code)
			}
			var got []string
			for line := range strings.Lines(diag.String()) {
				got = append(got, strings.TrimPrefix(line, "warning: "))
			}
			if len(got) != len(sample.warnings) || !slices.EqualFunc(got, sample.warnings, strings.HasPrefix) {
				t.Errorf("check warns\n%swant the beginnings %q", strings.Join(got, ""), sample.warnings)
			}
		})
	}
}

// openings names what a configuration leaves open to other machines.
func openings(c config.Config) (faults []string) {
	when := func(open bool, fault string) {
		if open {
			faults = append(faults, fault)
		}
	}
	ops := c.Ops.Addr != "" && !onLoopback(c.Ops.Addr)
	when(c.Auth.Mode == config.AuthNone && !onLoopback(c.HTTP.Addr), "auth.mode none on "+c.HTTP.Addr)
	when(c.Auth.Mode == config.AuthJWT && (c.Auth.Issuer == "" || len(c.Auth.Audience) == 0), "tokens of any issuer or for any audience")
	when(ops && len(c.Ops.Keys) == 0, "ops without keys on "+c.Ops.Addr)
	when(ops && c.Ops.Pprof, "pprof on "+c.Ops.Addr)
	when(c.NATS.URL != "" && (c.NATS.User == "" || c.NATS.Password == ""), "NATS without credentials")
	when(c.NATS.URL != "" && c.NATS.InboxPrefix == "", "NATS with an inbox that other users may read")
	when(c.NATS.URL == "" && c.NATS.User == "" && c.NATS.Embedded.User == "" && !onLoopback(c.NATS.Embedded.Addr), "the embedded NATS server without credentials")
	when(len(c.Redis.Addrs) > 0 && (c.Redis.Username == "" || c.Redis.Password == ""), "Redis without credentials")
	return faults
}

func onLoopback(addr string) bool { return strings.HasPrefix(addr, "127.0.0.1:") }

// closed is a configuration with everything on other machines and nothing open to them.
func closed() config.Config {
	c := config.Default()
	c.Auth.Mode, c.Auth.Issuer, c.Auth.Audience = config.AuthJWT, "https://id.example", []string{"bridge"}
	c.NATS.URL, c.NATS.User, c.NATS.Password = "tls://nats:4222", "bridge", "p"
	c.Redis.Addrs, c.Redis.Username, c.Redis.Password = []string{"redis:6379"}, "bridge", "p"
	c.Ops.Addr, c.Ops.Keys = ":3005", []string{goodEntry}
	return c
}

// TestOpeningsAreFound: the check above sees each of them.
func TestOpeningsAreFound(t *testing.T) {
	t.Parallel()
	for want, edit := range map[string]func(*config.Config){
		"":                     func(*config.Config) {},
		"auth.mode none on":    func(c *config.Config) { c.Auth = config.Default().Auth },
		"tokens of any issuer": func(c *config.Config) { c.Auth.Audience = nil },
		"ops without keys":     func(c *config.Config) { c.Ops.Keys = nil },
		"pprof":                func(c *config.Config) { c.Ops.Pprof = true },
		"NATS without":         func(c *config.Config) { c.NATS.Password = "" },
		"NATS with an inbox":   func(c *config.Config) { c.NATS.InboxPrefix = "" },
		"the embedded NATS":    func(c *config.Config) { c.NATS.URL, c.NATS.User, c.NATS.Embedded.Addr = "", "", ":4222" },
		"Redis without":        func(c *config.Config) { c.Redis.Username = "" },
	} {
		c := closed()
		c.NATS.InboxPrefix = "_INBOX.bridge"
		edit(&c)
		if got := strings.Join(openings(c), ", "); !strings.HasPrefix(got, want) || (want == "") != (got == "") {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// loadWith loads the configuration that these variables make. Those that name a file
// with a secret get one.
func loadWith(t *testing.T, variables map[string]string) config.Config {
	t.Helper()
	launch.Clean(t)
	known := append(config.Variables(), "GOMEMLIMIT")
	for name, value := range variables {
		if !slices.Contains(known, name) {
			t.Errorf("there is no variable %s", name)
		}
		if strings.HasSuffix(name, "_FILE") {
			value = launch.SecretFile(t, "main:"+strings.Repeat("s", 32))
		}
		t.Setenv(name, value)
	}
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	config.AddFlags(flags)
	c, err := config.Load(flags)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// variablesOf reads lines NAME=value that follow a prefix.
func variablesOf(t *testing.T, file, prefix string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	variables := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^`+prefix+`([A-Z_]+)=(.*)$`).FindAllStringSubmatch(string(text), -1) {
		variables[m[1]] = m[2]
	}
	if len(variables) == 0 {
		t.Fatalf("%s sets nothing", file)
	}
	return variables
}

func systemdVariables(t *testing.T) map[string]string {
	t.Helper()
	variables := variablesOf(t, "deploy/systemd/socketbridge.service", "Environment=")
	for name, value := range variablesOf(t, "deploy/systemd/secrets.conf", "Environment=") {
		variables[name] = value
	}
	for name, value := range variablesOf(t, "deploy/systemd/environment", "") {
		variables[name] = value
	}
	return variables
}

// kubernetesDeployment is as much of the Deployment as these tests read.
type kubernetesDeployment struct {
	Spec struct {
		Template struct {
			Spec struct {
				Grace      int64 `yaml:"terminationGracePeriodSeconds"`
				Containers []struct {
					Env []struct {
						Name, Value string
						From        struct {
							Secret struct{ Key string } `yaml:"secretKeyRef"`
						} `yaml:"valueFrom"`
					}
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

func readDeployment(t *testing.T) (d kubernetesDeployment) {
	t.Helper()
	decodeFile(t, "deploy/kubernetes/deployment.yaml", &d)
	return d
}

// kubernetesVariables is the environment of a pod. What it takes from the secret is there.
func kubernetesVariables(t *testing.T) map[string]string {
	t.Helper()
	var settings struct{ Data map[string]string }
	decodeFile(t, "deploy/kubernetes/configmap.yaml", &settings)
	var secret struct {
		Data map[string]string `yaml:"stringData"`
	}
	decodeFile(t, "deploy/kubernetes/secret.example.yaml", &secret)
	container := readDeployment(t).Spec.Template.Spec.Containers[0]
	needs := func(name, key string) {
		if secret.Data[key] == "" {
			t.Errorf("%s names %s, which the secret does not have", name, key)
		}
	}
	variables := settings.Data
	for _, e := range container.Env {
		variables[e.Name] = e.Value
		switch key := e.From.Secret.Key; {
		case key != "":
			needs(e.Name, key)
			variables[e.Name] = goodEntry
		case e.Value == "":
			variables[e.Name] = "pod-1" // from a field
		}
	}
	for name, value := range variables {
		if key, ok := strings.CutPrefix(value, container.VolumeMounts[0].Path+"/"); ok {
			needs(name, key)
		}
	}
	return variables
}

// composeFile is as much of docker-compose.yml as these tests read.
type composeFile struct {
	Services map[string]struct {
		Image       string
		Command     []string
		Environment map[string]string
		EnvFile     string `yaml:"env_file"`
		Ports       []string
		Networks    []string
		Volumes     []string
		Secrets     []any
		ReadOnly    bool     `yaml:"read_only"`
		Security    []string `yaml:"security_opt"`
	}
	Networks map[string]struct{ Internal bool }
	Secrets  map[string]struct{ File string }
}

// makeSecrets runs deploy/make-secrets.sh.
func makeSecrets(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "secrets")
	if out, err := exec.Command("deploy/make-secrets.sh", dir).CombinedOutput(); err != nil {
		t.Fatalf("make-secrets.sh: %v\n%s", err, out)
	}
	return dir
}

// composeVariables is the environment of a bridge of docker-compose.yml, with the hashes of
// keys that were just made.
func composeVariables(t *testing.T) map[string]string {
	t.Helper()
	var compose composeFile
	decodeFile(t, "docker-compose.yml", &compose)
	bridge := compose.Services["bridge-1"]
	file := filepath.Join(makeSecrets(t), strings.TrimPrefix(bridge.EnvFile, "deploy/secrets/"))
	variables := variablesOf(t, file, "")
	for name, value := range bridge.Environment {
		variables[name] = regexp.MustCompile(`\$\{\w+:-([^}]*)\}`).ReplaceAllString(value, "$1")
	}
	return variables
}

// TestComposeIsClosed: docker-compose.yml publishes ports on this machine only, keeps Redis
// where only bridges are, and has a made secret wherever it names one.
func TestComposeIsClosed(t *testing.T) {
	t.Parallel()
	var compose composeFile
	decodeFile(t, "docker-compose.yml", &compose)
	made := makeSecrets(t)
	for name, s := range compose.Secrets {
		if _, err := os.Stat(filepath.Join(made, filepath.Base(s.File))); err != nil || filepath.Dir(s.File) != "deploy/secrets" {
			t.Errorf("secret %s: make-secrets.sh makes no %s", name, s.File)
		}
	}
	for name, s := range compose.Services {
		for _, p := range s.Ports {
			if !strings.HasPrefix(p, "127.0.0.1:") && !strings.HasPrefix(p, "${PUBLIC_ADDR:-127.0.0.1}:") {
				t.Errorf("%s publishes %s for other machines", name, p)
			}
		}
		if name != "grafana" && !s.ReadOnly || !slices.Contains(s.Security, "no-new-privileges:true") {
			t.Errorf("%s is not confined", name)
		}
		for _, secret := range s.Secrets {
			source, _ := secret.(string)
			if long, ok := secret.(map[string]any); ok {
				source, _ = long["source"].(string)
			}
			if _, ok := compose.Secrets[source]; !ok {
				t.Errorf("%s has the secret %v, which is defined nowhere", name, secret)
			}
		}
		for variable := range s.Environment {
			if strings.HasSuffix(variable, "PASSWORD") || strings.HasSuffix(variable, "TOKEN") || strings.HasSuffix(variable, "SECRETS") {
				t.Errorf("%s has %s in its environment, which `docker inspect` shows", name, variable)
			}
		}
	}
	redis, nats := compose.Services["redis"], compose.Services["nats"]
	for _, r := range readGoMod(t).Require {
		minor := r.Version[1 : strings.LastIndex(r.Version, ".")+1]
		if r.Path == "github.com/nats-io/nats-server/v2" && !strings.HasPrefix(nats.Image, "nats:"+strings.TrimSuffix(minor, ".")+"-") {
			t.Errorf("image %s is not the server of the tests, %s: permissions differ between versions", nats.Image, r.Version)
		}
	}
	if d := cmp.Diff([]string{"back"}, redis.Networks); d != "" || !compose.Networks["back"].Internal || len(redis.Ports) > 0 {
		t.Errorf("Redis is reached from elsewhere: %v", redis.Networks)
	}
	if !slices.Contains(redis.Command, "--aclfile") || !slices.ContainsFunc(nats.Volumes, func(v string) bool { return strings.HasPrefix(v, "./deploy/nats/permissions.conf:") }) {
		t.Error("NATS or Redis does not load the users of deploy/")
	}
	if slices.Contains(compose.Services["nginx"].Networks, "back") {
		t.Error("nginx reaches NATS and Redis")
	}
}

// TestMakeSecrets: secrets are random, only their owner can list them, and those that may be
// in use are not replaced.
func TestMakeSecrets(t *testing.T) {
	t.Parallel()
	a, b := makeSecrets(t), makeSecrets(t)
	files, err := os.ReadDir(a)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		one, err1 := os.ReadFile(filepath.Join(a, f.Name()))
		other, err2 := os.ReadFile(filepath.Join(b, f.Name()))
		if err1 != nil || err2 != nil || bytes.Equal(one, other) || len(one) < 48 {
			t.Errorf("%s is %q and %q", f.Name(), one, other)
		}
	}
	if info, err := os.Stat(a); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if out, err := exec.Command("deploy/make-secrets.sh", a).CombinedOutput(); err == nil {
		t.Errorf("secrets were replaced: %s", out)
	}
	if out, err := exec.Command("git", "check-ignore", "deploy/secrets/ops-key").CombinedOutput(); err != nil {
		t.Errorf("git does not ignore deploy/secrets: %v %s", err, out)
	}
}

// TestImage: the Dockerfile's context has every package and every replaced module, and the
// process is not root.
func TestImage(t *testing.T) {
	t.Parallel()
	dockerfile, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	ignored, err := os.ReadFile(".dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	_, final, _ := strings.Cut(string(dockerfile), "\nFROM gcr.io/distroless/")
	if user := regexp.MustCompile(`(?m)^USER (\d+):\d+$`).FindStringSubmatch(final); user == nil || user[1] == "0" {
		t.Error("the image has no numeric USER that is not root, as runAsNonRoot wants it")
	}
	before, _, _ := strings.Cut(string(dockerfile), "go mod download")
	for _, r := range readGoMod(t).Replace {
		if dir := strings.TrimPrefix(r.New.Path, "./"); !strings.Contains(before, "COPY "+dir+"/go.mod ") {
			t.Errorf("go mod download lacks the replaced module %s", r.New.Path)
		}
	}
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if .Module}}{{.Dir}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range strings.Fields(string(out)) {
		inside, err := filepath.Rel(root, dir)
		if err != nil || inside == "." || strings.HasPrefix(inside, "..") {
			continue
		}
		top, _, _ := strings.Cut(inside, "/")
		if !slices.Contains(strings.Split(string(ignored), "\n"), "!"+top) {
			t.Errorf(".dockerignore leaves out %s, which the binary needs", inside)
		}
	}
}
