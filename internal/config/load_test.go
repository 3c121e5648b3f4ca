package config

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/pflag"
)

// root is the directory of go.mod.
const root = "../../"

// ignoreFrom leaves out who set what, which a comparison is rarely about.
var ignoreFrom = cmpopts.IgnoreUnexported(Config{})

// clean moves to an empty directory and forgets every variable that the
// configuration reads, then writes the files given as name and content.
func clean(t testing.TB, files ...string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for i := 0; i < len(files); i += 2 {
		if err := os.WriteFile(files[i], []byte(files[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range Variables() {
		t.Setenv(n, "")
	}
}

func load(t testing.TB, args ...string) (Config, error) {
	t.Helper()
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	AddFlags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return Load(flags)
}

func mustLoad(t testing.TB, args ...string) Config {
	t.Helper()
	c, err := load(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConfigNothingSet(t *testing.T) {
	clean(t)
	if diff := cmp.Diff(Default(), mustLoad(t), ignoreFrom); diff != "" {
		t.Errorf("without a file (-default +got):\n%s", diff)
	}
}

func TestConfigFileEqualsDefaults(t *testing.T) {
	path, err := filepath.Abs(root + configFile)
	if err != nil {
		t.Fatal(err)
	}
	clean(t)
	got := mustLoad(t, "--config", path)
	if diff := cmp.Diff(Default(), got, ignoreFrom); diff != "" {
		t.Errorf("config.yaml (-default +file):\n%s", diff)
	}
	for _, s := range settingsOf(&got) {
		if got.from[s.key] != path {
			t.Errorf("config.yaml lacks %s", s.key)
		}
	}
}

func TestConfigFileExplainsEveryKey(t *testing.T) {
	keys, _ := commentsOf(t)
	for key, comment := range keys {
		if comment == "" {
			t.Errorf("%s has no comment above it", key)
		}
	}
}

// TestEnvExampleIsTheDefault: but for the address, which nobody else reaches.
func TestEnvExampleIsTheDefault(t *testing.T) {
	text, err := os.ReadFile(root + ".env.example")
	if err != nil {
		t.Fatal(err)
	}
	clean(t, dotenvFile, string(text))
	want := Default()
	want.HTTP.Addr = "127.0.0.1:3004"
	if diff := cmp.Diff(want, mustLoad(t), ignoreFrom); diff != "" {
		t.Errorf(".env.example (-default +got):\n%s", diff)
	}
	// What it has commented out works too.
	text = regexp.MustCompile(`(?m)^#([A-Z_]+=)`).ReplaceAll(text, []byte("$1"))
	text = regexp.MustCompile(`(_FILE=).*`).ReplaceAll(text, []byte("${1}"+secretFile(t, goodSecret)))
	clean(t, dotenvFile, string(text))
	if c := mustLoad(t); c.NATS.URL == "" || len(c.Redis.Addrs) != 1 || len(c.Origins) != 3 || c.Auth.Mode != AuthJWT {
		t.Errorf("all of .env.example: got %+v", c)
	}
}

func TestConfigOrder(t *testing.T) {
	clean(t,
		configFile, "http: {addr: ':1001', reply_timeout: 1s, read_header_timeout: 1s, max_body: 1111}\nhistory: {ttl: 1s}\n",
		dotenvFile, "HTTP_REPLY_TIMEOUT=2s\nHTTP_READ_HEADER_TIMEOUT=2s\nHTTP_MAX_BODY=2222\nPORT=1002\n")
	t.Setenv("HTTP_READ_HEADER_TIMEOUT", "3s")
	t.Setenv("HTTP_MAX_BODY", "3333")
	t.Setenv("HTTP_ADDR", "127.0.0.1:1003")
	c := mustLoad(t, "--set", "http.max_body=4444", "--port", "1004", "--log-level", "warn")

	want := Default()
	want.History.TTL = time.Second                // file
	want.HTTP.ReplyTimeout = 2 * time.Second      // .env over file
	want.HTTP.ReadHeaderTimeout = 3 * time.Second // environment over .env
	want.HTTP.MaxBody = 4444                      // flag over environment
	want.HTTP.Addr = "127.0.0.1:1004"
	want.Log.Level = slog.LevelWarn
	if diff := cmp.Diff(want, c, ignoreFrom); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	wantFrom := map[string]string{
		"http.addr": "flag --port", "http.max_body": "flag --set", "log.level": "flag --log-level",
		"http.read_header_timeout": "environment HTTP_READ_HEADER_TIMEOUT",
		"http.reply_timeout":       ".env HTTP_REPLY_TIMEOUT",
		"history.ttl":              "config.yaml",
	}
	if diff := cmp.Diff(wantFrom, c.from); diff != "" {
		t.Errorf("from (-want +got):\n%s", diff)
	}
}

// TestConfigVariables has each variable that keeps its old name, and the rules
// for new ones.
func TestConfigVariables(t *testing.T) {
	tests := []struct {
		name string
		env  map[string]string
		edit func(*Config)
	}{
		{"PORT", map[string]string{"PORT": "8080"}, func(c *Config) { c.HTTP.Addr = ":8080" }},
		{"PORT keeps the host", map[string]string{"PORT": "8080", "HTTP_ADDR": "[::1]:1"}, func(c *Config) { c.HTTP.Addr = "[::1]:8080" }},
		{"NODE_ENV", map[string]string{"NODE_ENV": "staging"}, func(c *Config) { c.Node.Env = "staging" }},
		{"REDIS_HOST", map[string]string{"REDIS_HOST": "redis"}, func(c *Config) { c.Redis.Addrs = []string{"redis:6379"} }},
		{"REDIS_HOST and REDIS_PORT", map[string]string{"REDIS_HOST": "::1", "REDIS_PORT": "7"}, func(c *Config) { c.Redis.Addrs = []string{"[::1]:7"} }},
		{"REDIS_PORT alone", map[string]string{"REDIS_PORT": "tcp://10.0.0.1:6379"}, func(*Config) {}},
		{"REDIS_ADDRS wins", map[string]string{"REDIS_HOST": "old", "REDIS_ADDRS": "a:1, b:2"}, func(c *Config) { c.Redis.Addrs = []string{"a:1", "b:2"} }},
		{"REDIS_PASSWORD", map[string]string{"REDIS_HOST": "r", "REDIS_PASSWORD": "0123"}, func(c *Config) {
			c.Redis.Addrs, c.Redis.Password = []string{"r:6379"}, "0123"
		}},
		{"ORIGIN", map[string]string{"ORIGIN": "http://localhost:3000"}, func(c *Config) { c.Origins = []string{"http://localhost:3000"} }},
		{"ORIGIN and ALLOWED_ORIGINS", map[string]string{"ORIGIN": "https://a.io", "ALLOWED_ORIGINS": "https://b.io, https://a.io,"}, func(c *Config) {
			c.Origins = []string{"https://a.io", "https://b.io"}
		}},
		{"SOCKET_TRANSPORTS", map[string]string{"SOCKET_TRANSPORTS": "polling"}, func(c *Config) { c.Sockets.Transports = []string{"polling"} }},
		{"SOCKET_PING_INTERVAL", map[string]string{"SOCKET_PING_INTERVAL": "1500"}, func(c *Config) { c.Sockets.PingInterval = 1500 * time.Millisecond }},
		{"SOCKET_PING_TIMEOUT", map[string]string{"SOCKET_PING_TIMEOUT": "20000"}, func(c *Config) { c.Sockets.PingTimeout = 20 * time.Second }},
		{"the new name wins", map[string]string{"SOCKET_PING_TIMEOUT": "1", "SOCKETS_PING_TIMEOUT": "2s"}, func(c *Config) { c.Sockets.PingTimeout = 2 * time.Second }},
		{"LOG_LEVEL", map[string]string{"LOG_LEVEL": "debug"}, func(c *Config) { c.Log.Level = slog.LevelDebug }},
		{"NATS_URL", map[string]string{"NATS_URL": "nats://a:1,nats://b:2"}, func(c *Config) { c.NATS.URL = "nats://a:1,nats://b:2" }},
		{"NATS_EMBEDDED_STORE_DIR", map[string]string{"NATS_EMBEDDED_STORE_DIR": "/x"}, func(c *Config) { c.NATS.Embedded.StoreDir = "/x" }},
		{"REDIS_TLS_ENABLED", map[string]string{"REDIS_TLS_ENABLED": "true"}, func(c *Config) { c.Redis.TLS.Enabled = true }},
		{"NATS_STREAM_MAX_BYTES", map[string]string{"NATS_STREAM_MAX_BYTES": "2097152"}, func(c *Config) { c.NATS.Stream.MaxBytes = 2 << 20 }},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, func(c *Config) { c.Traces.Endpoint = "http://c:4318" }},
		{"TRACES_RATIO", map[string]string{"TRACES_RATIO": "0.25"}, func(c *Config) { c.Traces.Ratio = 0.25 }},
		{"unknown", map[string]string{"HTTP_NO_SUCH_KEY": "x"}, func(*Config) {}},
	}
	for _, test := range tests {
		for _, source := range []string{"environment", ".env"} {
			t.Run(test.name+" in "+source, func(t *testing.T) {
				clean(t)
				var file strings.Builder
				for name, value := range test.env {
					if source == ".env" {
						file.WriteString(name + "='" + value + "'\n")
					} else {
						t.Setenv(name, value)
					}
				}
				if err := os.WriteFile(dotenvFile, []byte(file.String()), 0o600); err != nil {
					t.Fatal(err)
				}
				want := Default()
				test.edit(&want)
				if diff := cmp.Diff(want, mustLoad(t), ignoreFrom); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
}

// Two variables that make one value may come from two sources.
func TestConfigVariablesOfTwoSources(t *testing.T) {
	clean(t, dotenvFile, "REDIS_HOST=redis\nORIGIN=https://a.io\n")
	t.Setenv("REDIS_PORT", "7000")
	t.Setenv("ALLOWED_ORIGINS", "https://b.io")
	c := mustLoad(t)
	if diff := cmp.Diff([]string{"redis:7000"}, c.Redis.Addrs); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"https://a.io", "https://b.io"}, c.Origins); diff != "" {
		t.Error(diff)
	}
}

func TestConfigEveryKeyHasItsOwnVariable(t *testing.T) {
	seen := map[string]string{}
	for _, s := range settingsOf(new(Config)) {
		if other, ok := seen[s.env()]; ok {
			t.Errorf("%s and %s share %s", s.key, other, s.env())
		}
		seen[s.env()] = s.key
	}
	if len(seen) < 50 {
		t.Errorf("found %d keys only", len(seen))
	}
}

// TestConfigProblems has what a user reads: one line for each problem, with key,
// value, where it was set, and what it must be.
func TestConfigProblems(t *testing.T) {
	tests := []struct {
		name string
		file string
		env  string // a line of .env
		args []string
		want []string
	}{
		{name: "unknown key", file: "http: {adr: ':1'}", want: []string{
			"http.adr (config.yaml): unknown key; http has addr, reply_timeout, read_header_timeout, read_timeout, idle_timeout, max_header, max_body, trusted_proxies, payloads_per_second, payload_burst, payload_bytes_per_second, payload_bytes_burst, body_bytes, max_connections, max_idle_connections, max_connections_per_address, shutdown_delay, tls",
		}},
		{name: "unknown key beside a section", file: "nats: {embedded: {adr: x}}", want: []string{
			"nats.embedded.adr (config.yaml): unknown key; nats.embedded has addr, user, password, store_dir, max_store, sync, max_connections",
		}},
		{name: "unknown section", file: "foo: {bar: 1}", want: []string{
			"foo.bar (config.yaml): unknown key; there are http, origins, sockets, history, intake, nats, redis, node, auth, ops, drain, canary, log, traces",
		}},
		{name: "section as value", file: "history: 5", want: []string{
			"history (config.yaml): unknown key; history has ttl, max_per_user, max_memory, traces",
		}},
		{name: "unknown key may be a secret", file: "redis: {pasword: hunter2}", want: []string{
			"redis.pasword (config.yaml): unknown key; redis has addrs, master_name, cluster, username, password, sentinel_password, db, prefix, tls, timeout, pool_size",
		}},
		{name: "duration without unit", file: "http: {reply_timeout: 5}", want: []string{
			`http.reply_timeout "5" (config.yaml): must be a duration with its unit, such as 500ms, 10s or 24h`,
		}},
		{name: "number", env: "HTTP_MAX_BODY=1MB", want: []string{
			`http.max_body "1MB" (.env HTTP_MAX_BODY): must be a whole number`,
		}},
		{name: "fraction", file: "history: {max_per_user: 1.5}", want: []string{
			`history.max_per_user "1.5" (config.yaml): must be a whole number`,
		}},
		{name: "password that YAML takes for a number", file: "redis: {password: 0123}", want: []string{
			`redis.password "***" (config.yaml): must be text; put it in quotes`,
		}},
		{name: "list of numbers", file: "origins: [1]", want: []string{`origins "[1]" (config.yaml): must be a list of texts`}},
		{name: "level", args: []string{"--log-level", "loud"}, want: []string{
			`log.level "loud" (flag --log-level): must be one of debug, info, warn, error`,
		}},
		{name: "switch", args: []string{"--set", "redis.tls.enabled=perhaps"}, want: []string{
			`redis.tls.enabled "perhaps" (flag --set): must be true or false`,
		}},
		{name: "PORT", env: "PORT=http", want: []string{`PORT "http" (.env PORT): must be a port number from 0 to 65535`}},
		{name: "--port", args: []string{"--port", "70000"}, want: []string{`--port "70000" (flag --port): must be a port number from 0 to 65535`}},
		{name: "milliseconds", env: "SOCKET_PING_TIMEOUT=60s", want: []string{
			`SOCKET_PING_TIMEOUT "60s" (.env): must be whole milliseconds, such as 25000; with a unit use SOCKETS_PING_TIMEOUT`,
		}},
		{name: "REDIS_HOST", env: "REDIS_HOST=redis://:hunter2@x", want: []string{
			`REDIS_HOST "redis://***@x" (.env): must be a host name or an IP address; for more use REDIS_ADDRS`,
		}},
		{name: "REDIS_PORT", env: "REDIS_HOST=redis\nREDIS_PORT=tcp://10.0.0.1:6379", want: []string{
			`REDIS_PORT "tcp://10.0.0.1:6379" (.env): must be a port number from 0 to 65535; or use REDIS_ADDRS`,
		}},
		{name: "--set without value", args: []string{"--set", "http.addr"}, want: []string{`--set "http.addr": must be key=value`}},
		{name: "--set of an unknown key", args: []string{"--set", "http.x=1"}, want: []string{
			"http.x (flag --set): unknown key; http has addr, reply_timeout, read_header_timeout, read_timeout, idle_timeout, max_header, max_body, trusted_proxies, payloads_per_second, payload_burst, payload_bytes_per_second, payload_bytes_burst, body_bytes, max_connections, max_idle_connections, max_connections_per_address, shutdown_delay, tls",
		}},
		{name: "named file missing", args: []string{"--config", "nope.yaml"}, want: []string{
			`file "nope.yaml": must be a file that can be read: open nope.yaml: no such file or directory`,
		}},
		{name: "not YAML", file: "http:\n\t- x", want: []string{
			`file "config.yaml": must be keys and values in YAML: While parsing config: yaml: line 2: found character that cannot start any token`,
		}},
		{name: "not a .env", env: "A=b\nhunter2", want: []string{
			`file ".env": must be lines of the form NAME=value: line 2 is not`,
		}},
		{name: "range, with its place", env: "HTTP_REPLY_TIMEOUT=-1s", want: []string{
			`http.reply_timeout "-1s" (.env HTTP_REPLY_TIMEOUT): must be more than 0s`,
		}},
		{name: "several", file: "http: {addr: x, max_body: 1}\nauth: {mode: jwt}", want: []string{
			`http.addr "x" (config.yaml): must be host:port or :port`,
			`http.max_body "1" (config.yaml): must be 1024 to 67108864`,
			`auth.mode "jwt" (config.yaml): needs keys: auth.secrets, auth.key_files or auth.jwks_url`,
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			clean(t, configFile, test.file, dotenvFile, test.env+"\n")
			_, err := load(t, test.args...)
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Fatalf("got %v, want a Error", err)
			}
			if diff := cmp.Diff(test.want, strings.Split(err.Error(), "\n")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestConfigSectionWithoutKeysHasDefaults(t *testing.T) {
	clean(t, configFile, "http:\nnats:\n  stream:\nredis: {}\nhistory:\n  ttl:\n")
	if diff := cmp.Diff(Default(), mustLoad(t), ignoreFrom); diff != "" {
		t.Errorf("(-default +got):\n%s", diff)
	}
}

func TestConfigErrorIsBounded(t *testing.T) {
	var file strings.Builder
	for i := range 100 {
		file.WriteString("x" + string(rune('a'+i%26)) + string(rune('a'+i/26)) + ": 1\n")
	}
	clean(t, configFile, file.String())
	_, err := load(t)
	lines := strings.Split(err.Error(), "\n")
	if got, want := lines[len(lines)-1], "and 90 more"; got != want || len(lines) != maxProblems+1 {
		t.Errorf("got %d lines that end in %q, want %d and %q", len(lines), got, maxProblems+1, want)
	}
}

// FuzzLoad reads arbitrary files: they end in a Error or in a valid
// configuration, never in a panic.
func FuzzLoad(f *testing.F) {
	example, err := os.ReadFile(root + configFile)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example, []byte("PORT=1\nREDIS_HOST=a\nORIGIN=*\n"))
	f.Add([]byte("http: &a\n  addr: *a\n"), []byte("A='\nB"))
	f.Add([]byte("? [a]\n: b\n"), []byte("export A=$B"))
	f.Add([]byte("'': {'.': 1}\norigins: !!binary aGk=\nlog: {level: 2001-01-01}"), []byte(`A="\`))
	f.Fuzz(func(t *testing.T, file, dotenv []byte) {
		l := newLoader()
		l.parseFile(configFile, file)
		vars, err := parseDotenv(dotenv)
		if err != nil {
			l.refuse("file", dotenvFile, "", err.Error())
		}
		l.environment(".env", vars.GetString, vars.GetString)
		c, err := l.finish()
		if err != nil {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Errorf("got %T, want a Error", err)
			}
			return
		}
		if err := c.Validate(); err != nil {
			t.Errorf("loaded but not valid: %v", err)
		}
		if err := c.Print(new(bytes.Buffer)); err != nil {
			t.Error(err)
		}
	})
}

// TestRedisKeysOfADeployment: deployments that differ in their subject prefix share no key.
func TestRedisKeysOfADeployment(t *testing.T) {
	clean(t)
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "bridge"},
		{[]string{"--set", "nats.subject_prefix=contest"}, "bridge:contest"},
		{[]string{"--set", "nats.subject_prefix=contest", "--set", "redis.prefix=mine"}, "mine"},
	} {
		if got := mustLoad(t, tt.args...).Store().Prefix; got != tt.want {
			t.Errorf("%q: keys begin with %q, want %q", tt.args, got, tt.want)
		}
	}
}
