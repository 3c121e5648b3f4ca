package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// secretFile writes a file as a container mounts it, outside the working directory.
func secretFile(t *testing.T, content string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content), 0o400); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSecretsFromFiles(t *testing.T) {
	clean(t, configFile, "redis: {password: of-the-file}", dotenvFile, "REDIS_HOST=redis\nREDIS_SENTINEL_PASSWORD=of-dotenv\nNATS_TOKEN=of-dotenv\n")
	t.Setenv("REDIS_PASSWORD_FILE", secretFile(t, "pass word=\n"))
	t.Setenv("REDIS_MASTER_NAME", "m")
	t.Setenv("REDIS_SENTINEL_PASSWORD_FILE", secretFile(t, "sentinel's\r\n")) // the environment wins over .env
	c := mustLoad(t)
	got := []string{c.Redis.Password.Reveal(), c.Redis.SentinelPassword.Reveal(), c.NATS.Token.Reveal()}
	if d := cmp.Diff([]string{"pass word=", "sentinel's", "of-dotenv"}, got); d != "" {
		t.Errorf("secrets (-want +got):\n%s", d)
	}
	var out bytes.Buffer
	if err := c.Print(&out); err != nil {
		t.Fatal(err)
	}
	if want := "password: '***' # environment REDIS_PASSWORD_FILE\n"; !strings.Contains(out.String(), want) {
		t.Errorf("check lacks %q:\n%s", want, &out)
	}
}

// TestEverySecretCanComeFromAFile finds a secret that is not declared as one:
// what its key says it is must have the type.
func TestEverySecretCanComeFromAFile(t *testing.T) {
	var got []string
	for _, s := range settingsOf(new(Config)) {
		if s.secret() {
			got = append(got, s.key)
		} else if strings.Contains(s.key, "password") || strings.Contains(s.key, "secret") || strings.HasSuffix(s.key, "token") {
			t.Errorf("%s is not a bridge.Secret", s.key)
		}
	}
	for _, key := range []string{"nats.password", "nats.token", "redis.password", "redis.sentinel_password"} {
		if !strings.Contains(strings.Join(got, " "), key) {
			t.Errorf("%s is not among the secrets %v", key, got)
		}
	}
}

func TestSecretFilesThatDoNotWork(t *testing.T) {
	empty := secretFile(t, "\n")
	for name, tt := range map[string]struct{ env, want string }{
		"both":     {"REDIS_PASSWORD=x\nREDIS_PASSWORD_FILE=" + empty, "REDIS_PASSWORD_FILE (.env): must not be set together with REDIS_PASSWORD"},
		"empty":    {"REDIS_PASSWORD_FILE=" + empty, "REDIS_PASSWORD_FILE (.env): must name a file with the secret in it; this one is empty"},
		"no file":  {"NATS_TOKEN_FILE=hunter2", "NATS_TOKEN_FILE (.env): must name a file that can be read: no such file or directory"},
		"no value": {"NATS_TOKEN_FILE=/", "NATS_TOKEN_FILE (.env): must name a file that can be read: is a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			clean(t, dotenvFile, tt.env+"\n")
			_, err := load(t)
			if _, ok := errors.AsType[*Error](err); !ok || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// TestNoSecretInWhatIsWrong: whoever pastes a secret into the wrong place does
// not find it in the log of the failed start.
func TestNoSecretInWhatIsWrong(t *testing.T) {
	const secret = "hunter2"
	for name, tt := range map[string]struct {
		file, env string
		args      []string
	}{
		"a file of text":             {file: secret},
		"a list":                     {file: "[" + secret + "]"},
		"password in the host":       {env: "REDIS_HOST=" + "redis://:" + secret + "@h"},
		"password with a slash":      {env: "NATS_URL=nats://u:1/" + secret + "@h"},
		"password with a comma":      {env: "NATS_URL=nats://u:" + secret + ",x@h"},
		"password with a percent":    {env: "NATS_URL=nats://u:%" + secret + "@h"},
		"password in an address":     {file: "redis: {addrs: ['u:" + secret + "@h:1']}"},
		"password where a list goes": {file: "redis: {password: [" + secret + "]}"},
		"password where a map goes":  {file: "redis: {password: {x: " + secret + "}}"},
		"secret without its user":    {env: "NATS_PASSWORD=" + secret},
		"a line without a name":      {env: secret},
		"redis without its address":  {args: []string{"--set", "redis.password=" + secret}},
		"origin with a password":     {args: []string{"--set", "origins=https://u:" + secret + "@h"}},
		"a prefix":                   {args: []string{"--set", "nats.url=nats://" + secret + "@[::1"}},
	} {
		t.Run(name, func(t *testing.T) {
			clean(t, configFile, tt.file, dotenvFile, tt.env+"\n")
			_, err := load(t, tt.args...)
			if err == nil {
				t.Fatal("that is a valid configuration")
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error shows the secret: %v", err)
			}
		})
	}
}
