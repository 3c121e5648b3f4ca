package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/codewar/socketbridge/internal/config"
)

// stopTime adds the limits of all steps of a stop, as app.go has them. A supervisor must wait longer
// before it kills the process.
func stopTime(t *testing.T, c config.Config) (sum time.Duration) {
	t.Helper()
	source, err := os.ReadFile("internal/app/app.go")
	if err != nil {
		t.Fatal(err)
	}
	steps := regexp.MustCompile(`down\.add\("[^"]+", (?:cfg\.([\w.]+)\+)?(?:(\d+)\*)?time\.Second,`).FindAllSubmatch(source, -1)
	if want := bytes.Count(source, []byte("down.add(")); len(steps) != want || want == 0 {
		t.Fatalf("app.go has %d steps, the limits of %d are understood", want, len(steps))
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

// TestKubernetes: the manifests' ports are the bridge's, and SIGKILL comes after the stop.
// That they are Kubernetes' own types is e2e/manifests' business.
func TestKubernetes(t *testing.T) {
	deployment := readDeployment(t)
	pod := deployment.Spec.Template.Spec
	ports := map[string]string{}
	for _, p := range pod.Containers[0].Ports {
		ports[p.Name] = ":" + p.Port
	}
	limit := stopTime(t, config.Default()) // in the directory of the sources
	c := loadWith(t, kubernetesVariables(t))
	if ports["http"] != c.HTTP.Addr || ports["ops"] != c.Ops.Addr {
		t.Errorf("ports are %v, the bridge listens on %s and %s", ports, c.HTTP.Addr, c.Ops.Addr)
	}
	limit += c.HTTP.ShutdownDelay + c.Drain.Duration - config.Default().Drain.Duration
	if grace := time.Duration(pod.Grace) * time.Second; grace < limit {
		t.Errorf("terminationGracePeriodSeconds is %v, a stop may take %v", grace, limit)
	}
}

// TestSystemd: the unit waits until the stop is done, and systemd itself takes it and finds
// it confined, where it is installed.
func TestSystemd(t *testing.T) {
	const unit = "deploy/systemd/socketbridge.service"
	text, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "\nTimeoutStopSec=")
	value, _, _ := strings.Cut(after, "\n")
	wait, err := time.ParseDuration(value)
	if limit := stopTime(t, config.Default()); err != nil || wait < limit {
		t.Errorf("TimeoutStopSec is %v (%v), a stop may take %v", wait, err, limit)
	}
	verify(t, unit)
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
	// Exposure is 0.0 to 10.0; the threshold is in tenths.
	if out, err := exec.Command("systemd-analyze", "security", "--offline=yes", "--no-pager", "--threshold=15", copied).CombinedOutput(); err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
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
