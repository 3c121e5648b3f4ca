package e2e

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"go.yaml.in/yaml/v3"
)

// sample is docker-compose.yml without containers: its NATS server and its Redis as
// processes with the same files, and the environment of its bridges.
type sample struct {
	t         testing.TB
	secrets   string // directory that deploy/make-secrets.sh has made
	env       []string
	natsURL   string
	redisAddr string
}

// startSample starts the servers.
func startSample(t testing.TB) *sample {
	t.Helper()
	s := &sample{t: t, secrets: filepath.Join(t.TempDir(), "secrets")}
	if out, err := exec.Command("../deploy/make-secrets.sh", s.secrets).CombinedOutput(); err != nil {
		t.Fatalf("make-secrets.sh: %v\n%s", err, out)
	}
	s.startNATS()
	s.startRedis()
	s.readCompose()
	return s
}

func (s *sample) startNATS() {
	s.t.Helper()
	dir := s.t.TempDir()
	for from, to := range map[string]string{
		"../deploy/nats/nats.conf": "nats.conf", "../deploy/nats/permissions.conf": "permissions.conf",
		filepath.Join(s.secrets, "nats-passwords.conf"): "passwords.conf",
	} {
		text := bytes.ReplaceAll(s.read(from), []byte("store_dir: /data"), []byte("store_dir: "+filepath.Join(dir, "data")))
		if err := os.WriteFile(filepath.Join(dir, to), text, 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	port := freePort(s.t)
	s.natsURL = "nats://127.0.0.1:" + port
	start(s.t, "nats", nil, binaries.nats, "-c", filepath.Join(dir, "nats.conf"), "-a", "127.0.0.1", "-p", port, "-m", freePort(s.t)).listens("127.0.0.1:" + port)
}

func (s *sample) startRedis() {
	s.t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") != "" {
			s.t.Fatal(err)
		}
		s.t.Skip(err)
	}
	port := freePort(s.t)
	s.redisAddr = "127.0.0.1:" + port
	start(s.t, "redis", nil, path, "--bind", "127.0.0.1", "--port", port, "--save", "", "--aclfile", filepath.Join(s.secrets, "redis-users.acl")).listens(s.redisAddr)
}

// readCompose takes the environment of a bridge from docker-compose.yml. Only where the
// servers and the secrets are differs.
func (s *sample) readCompose() {
	s.t.Helper()
	var compose struct {
		Services map[string]struct {
			Environment map[string]string
			EnvFile     string `yaml:"env_file"`
		}
		Secrets map[string]struct{ File string }
	}
	if err := yaml.Unmarshal(s.read("../docker-compose.yml"), &compose); err != nil {
		s.t.Fatal(err)
	}
	bridge := compose.Services["bridge-1"]
	host, port, _ := net.SplitHostPort(s.redisAddr)
	set := map[string]string{"NATS_URL": s.natsURL, "REDIS_HOST": host, "REDIS_PORT": port, "OPS_ADDR": "", "NODE_ID": ""} // the last two are the harness's
	for name, value := range bridge.Environment {
		value = regexp.MustCompile(`\$\{\w+:-([^}]*)\}`).ReplaceAllString(value, "$1")
		if secret, ok := strings.CutPrefix(value, "/run/secrets/"); ok {
			value = s.file(filepath.Base(compose.Secrets[secret].File))
		}
		if _, ours := set[name]; !ours {
			set[name] = value
		}
	}
	for name, value := range set {
		s.env = append(s.env, name+"="+value)
	}
	for line := range strings.Lines(string(s.read(s.file(filepath.Base(bridge.EnvFile))))) {
		s.env = append(s.env, strings.TrimSpace(line))
	}
}

// bridge starts one of the bridges.
func (s *sample) bridge(id string) *node {
	s.t.Helper()
	return startBridge(s.t, id, append(s.env, "NODE_ID="+id, "LOG_LEVEL=debug")...)
}

func (s *sample) file(name string) string { return filepath.Join(s.secrets, name) }

// secret is what one of the files holds.
func (s *sample) secret(name string) string { return strings.TrimSpace(string(s.read(s.file(name)))) }

func (s *sample) read(path string) []byte {
	s.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	return text
}

// nats connects as one of the users.
func (s *sample) nats(user string) *nats.Conn {
	s.t.Helper()
	nc, err := nats.Connect(s.natsURL, nats.UserInfo(user, s.secret("nats-"+user+"-password")), nats.CustomInboxPrefix("_INBOX."+user),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // see denied
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	return nc
}

// run runs a command of the bridge with its environment, and more on top of it.
func (s *sample) run(env []string, args ...string) (stdout string, err error) {
	s.t.Helper()
	cmd := exec.Command(binaries.bridge, args...)
	cmd.Dir = s.t.TempDir()
	cmd.Env = append(append(clean(os.Environ()), s.env...), env...)
	var out, diag bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diag
	err = cmd.Run()
	if err != nil {
		s.t.Logf("%v: %v\n%s", args, err, diag.String())
	}
	return out.String(), err
}
