package config

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codewar/socketbridge/bridge"
)

var (
	goodSecret = "main:" + strings.Repeat("s", 32)
	goodEntry  = "judge:" + strings.Repeat("0a", 32)
)

func TestValidate(t *testing.T) {
	tests := []struct {
		key  string // that the line begins with; empty: no problem
		edit func(*Config)
	}{
		{"", func(*Config) {}},
		{"http.addr", func(c *Config) { c.HTTP.Addr = "3004" }},
		{"http.addr", func(c *Config) { c.HTTP.Addr = ":70000" }},
		{"http.reply_timeout", func(c *Config) { c.HTTP.ReplyTimeout = 0 }},
		{"http.read_header_timeout", func(c *Config) { c.HTTP.ReadHeaderTimeout = 0 }},
		{"http.max_body", func(c *Config) { c.HTTP.MaxBody = 0 }},
		{"http.read_timeout", func(c *Config) { c.HTTP.ReadTimeout = 0 }},
		{"http.idle_timeout", func(c *Config) { c.HTTP.IdleTimeout = 0 }},
		{"http.max_header", func(c *Config) { c.HTTP.MaxHeader = 100 }},
		{"", func(c *Config) { c.HTTP.TrustedProxies = []string{"10.0.0.0/8", "192.0.2.1", "::1", "fd00::/8"} }},
		{"http.trusted_proxies", func(c *Config) { c.HTTP.TrustedProxies = []string{"proxy"} }},
		{"http.payloads_per_second", func(c *Config) { c.HTTP.PayloadsPerSecond = -1 }},
		{"http.payload_burst", func(c *Config) { c.HTTP.PayloadBurst = -1 }},
		{"http.shutdown_delay", func(c *Config) { c.HTTP.ShutdownDelay = -1 }},
		{"http.tls.cert", func(c *Config) { c.HTTP.TLS.Key = "x.key" }},
		{"", func(c *Config) { c.HTTP.TLS = TLS{"x.pem", "x.key"} }},
		{"", func(c *Config) { c.Origins = []string{"https://a.io", "http://[::1]:80", "capacitor://localhost"} }},
		{"origins", func(c *Config) { c.Origins = []string{"a.io"} }},
		{"origins", func(c *Config) { c.Origins = []string{"https://a.io/"} }},
		{"origins", func(c *Config) { c.Origins = []string{"https://a.io", "*"} }},
		{"origins", func(c *Config) { c.Origins = []string{"*"} }},
		{"sockets.transports", func(c *Config) { c.Sockets.Transports = nil }},
		{"sockets.transports", func(c *Config) { c.Sockets.Transports = []string{"polling", "polling"} }},
		{"sockets.transports", func(c *Config) { c.Sockets.Transports = []string{"webtransport"} }},
		{"sockets.ping_interval", func(c *Config) { c.Sockets.PingInterval = 0 }},
		{"sockets.ping_timeout", func(c *Config) { c.Sockets.PingTimeout = 0 }},
		{"sockets.upgrade_timeout", func(c *Config) { c.Sockets.UpgradeTimeout = 0 }},
		{"sockets.connect_timeout", func(c *Config) { c.Sockets.ConnectTimeout = 0 }},
		{"sockets.write_timeout", func(c *Config) { c.Sockets.WriteTimeout = 0 }},
		{"sockets.max_connect", func(c *Config) { c.Sockets.MaxConnect = 0 }},
		{"sockets.max_inbound", func(c *Config) { c.Sockets.MaxInbound = 0 }},
		{"sockets.inbound_rate", func(c *Config) { c.Sockets.InboundRate = -1 }},
		{"sockets.inbound_rate", func(c *Config) { c.Sockets.InboundRate = 1000 }},
		{"sockets.max_memory", func(c *Config) { c.Sockets.Memory.Total = 1 << 20 }},
		{"sockets.max_memory_per_address", func(c *Config) { c.Sockets.Memory.PerAddress = 1 << 20 }},
		{"sockets.max_memory_per_connection", func(c *Config) { c.Sockets.Memory.PerConnection = -1 }},
		{"sockets.max_pending", func(c *Config) { c.Sockets.MaxPending = 1 << 19 }},
		{"sockets.compress_above", func(c *Config) { c.Sockets.CompressAbove = -1 }},
		{"sockets.events_per_minute", func(c *Config) { c.Sockets.EventsPerMinute = -1 }},
		{"http.payload_bytes_per_second", func(c *Config) { c.HTTP.PayloadBytesPerSecond = -1 }},
		{"http.payload_bytes_burst", func(c *Config) { c.HTTP.PayloadBytesBurst = -1 }},
		{"http.body_bytes", func(c *Config) { c.HTTP.BodyBytes = -1 }},
		{"http.max_connections", func(c *Config) { c.HTTP.MaxConnections = -1 }},
		{"http.max_idle_connections", func(c *Config) { c.HTTP.MaxIdleConnections = -1 }},
		{"http.max_connections_per_address", func(c *Config) { c.HTTP.MaxConnectionsPerAddress = -1 }},
		{"ops.max_connections", func(c *Config) { c.Ops.MaxConnections = -1 }},
		{"nats.embedded.max_connections", func(c *Config) { c.NATS.Embedded.MaxConnections = 0 }},
		{"sockets.max_connections", func(c *Config) { c.Sockets.MaxConnections = -1 }},
		{"sockets.max_per_address", func(c *Config) { c.Sockets.MaxPerAddress = -1 }},
		{"sockets.max_per_user", func(c *Config) { c.Sockets.MaxPerUser = -1 }},
		{"sockets.max_handshakes", func(c *Config) { c.Sockets.MaxHandshakes = -1 }},
		{"sockets.max_binding", func(c *Config) { c.Sockets.MaxBinding = -1 }},
		{"sockets.connects_per_second", func(c *Config) { c.Sockets.ConnectsPerSecond = -1 }},
		{"sockets.connect_burst", func(c *Config) { c.Sockets.ConnectBurst = -1 }},
		{"sockets.per_user", func(c *Config) { c.Sockets.PerUser = "first" }},
		{"", func(c *Config) { c.Sockets.PerUser = PerUserLatest }},
		{"sockets.user_connects_per_second", func(c *Config) { c.Sockets.UserConnectsPerSecond = -1 }},
		{"sockets.user_connect_burst", func(c *Config) { c.Sockets.UserConnectBurst = -1 }},
		{"history.ttl", func(c *Config) { c.History.TTL = 0 }},
		{"history.max_memory", func(c *Config) { c.History.MaxMemory = 0 }},
		{"history.max_per_user", func(c *Config) { c.History.MaxPerUser = 0 }},
		{"", func(c *Config) { c.NATS.URL = "localhost, tls://b:4222,nats://u:p@c" }},
		{"nats.url", func(c *Config) { c.NATS.URL = "http://a" }},
		{"nats.url", func(c *Config) { c.NATS.URL = "nats://u:12/3@a" }}, // a host u with port 12, to the library
		{"nats.user", func(c *Config) { c.NATS.User, c.NATS.NKey, c.NATS.URL = "u", "seed", "a" }},
		{"nats.subject_prefix", func(c *Config) { c.NATS.SubjectPrefix = "a.*" }},
		{"nats.subject_prefix", func(c *Config) { c.NATS.SubjectPrefix = "bridge.x" }},
		{"", func(c *Config) { c.NATS.InboxPrefix = "_INBOX.bridge" }},
		{"nats.inbox_prefix", func(c *Config) { c.NATS.InboxPrefix = "_INBOX.>" }},
		{"nats.inbox_prefix", func(c *Config) { c.NATS.InboxPrefix = "inbox" }},
		{"nats.stream.duplicates", func(c *Config) { c.NATS.Stream.Duplicates = c.NATS.Stream.MaxAge + 1 }},
		{"nats.stream.replicas", func(c *Config) { c.NATS.Stream.Replicas = 3 }},
		{"nats.embedded.addr", func(c *Config) { c.NATS.Embedded.Addr = "0.0.0.0:4222" }},
		{"", func(c *Config) { c.NATS.Embedded.Addr, c.NATS.Token = "0.0.0.0:4222", "t" }},
		{"nats.embedded.max_store", func(c *Config) { c.NATS.Embedded.MaxStore = 1 << 30 }},
		{"nats.embedded.sync", func(c *Config) { c.NATS.Embedded.Sync = "never" }},
		{"", func(c *Config) { c.Redis.Addrs = []string{"/run/redis.sock"} }},
		{"redis.addrs", func(c *Config) { c.Redis.Addrs = []string{"redis"} }},
		{"redis.addrs", func(c *Config) { c.Redis.Addrs = []string{"redis://redis:6379"} }},
		{"redis.master_name", func(c *Config) { c.Redis.MasterName = "m" }},
		{"redis.username", func(c *Config) { c.Redis.Username = "u" }},
		{"redis.password", func(c *Config) { c.Redis.Password = "p" }},
		{"redis.sentinel_password", func(c *Config) { c.Redis.Addrs, c.Redis.SentinelPassword = []string{"a:1"}, "p" }},
		{"redis.db", func(c *Config) { c.Redis.Addrs, c.Redis.DB = []string{"a:1", "b:1"}, 1 }},
		{"redis.db", func(c *Config) { c.Redis.DB = -1 }},
		{"", func(c *Config) { c.Redis.Addrs, c.Redis.MasterName, c.Redis.DB = []string{"a:1", "b:1"}, "m", 1 }},
		{"redis.cluster", func(c *Config) { c.Redis.Addrs, c.Redis.MasterName, c.Redis.Cluster = []string{"a:1"}, "m", true }},
		{"redis.prefix", func(c *Config) { c.Redis.Prefix = "{x}" }},
		{"redis.pool_size", func(c *Config) { c.Redis.PoolSize = -1 }},
		{"redis.timeout", func(c *Config) { c.Redis.Timeout = time.Minute }},
		{"redis.tls.cert", func(c *Config) { c.Redis.TLS.Enabled, c.Redis.TLS.Cert = true, "x.pem" }},
		{"redis.tls.enabled", func(c *Config) { c.Redis.TLS.CA = "x.pem" }},
		{"node.id", func(c *Config) { c.Node.ID = "a b" }},
		{"node.lease", func(c *Config) { c.Node.Lease = time.Second - 1 }},
		{"canary.interval", func(c *Config) { c.Canary.Interval = time.Millisecond }},
		{"canary.limit", func(c *Config) { c.Canary.Limit = 4 * time.Second }},
		{"traces.endpoint", func(c *Config) { c.Traces.Endpoint = "collector:4318" }},
		{"traces.endpoint", func(c *Config) { c.Traces.Endpoint = "http://u:secret@c:4318" }},
		{"traces.ratio", func(c *Config) { c.Traces.Ratio = 1.1 }},
		{"auth.mode", func(c *Config) { c.Auth.Mode = "basic" }},
		{"auth.mode", func(c *Config) { c.Auth.Mode = AuthJWT }},
		{"auth.mode", func(c *Config) { c.Node.Env, c.Origins = Production, []string{"https://a.io"} }},
		{"origins", func(c *Config) {
			c.Node.Env, c.Auth.Mode, c.Auth.Secrets = Production, AuthJWT, bridge.Secret(goodSecret)
		}},
		{"", func(c *Config) { c.Node.Env, c.Auth.AllowInsecure = Production, true }},
		{"", func(c *Config) {
			c.Node.Env, c.Auth.Mode, c.Auth.Secrets, c.Origins = Production, AuthJWT, bridge.Secret(goodSecret), []string{"https://a.io"}
		}},
		{"auth.secrets", func(c *Config) { c.Auth.Secrets = "k:short" }},
		{"auth.secrets", func(c *Config) { c.Auth.Secrets = bridge.Secret(strings.Repeat("no-kid-", 9)) }},
		{"", func(c *Config) { c.Auth.JWKSURL = "https://id.example/jwks" }},
		{"", func(c *Config) { c.Auth.JWKSURL = "http://127.0.0.1:1/jwks" }},
		{"auth.jwks_url", func(c *Config) { c.Auth.JWKSURL = "http://id.example/jwks" }},
		{"auth.jwks_url", func(c *Config) { c.Auth.JWKSURL = "id.example" }},
		{"", func(c *Config) { c.Auth.JWKSURL, c.Auth.AllowInsecure = "http://id.example/jwks", true }},
		{"auth.jwks_refresh", func(c *Config) { c.Auth.JWKSRefresh = time.Second }},
		{"auth.user_claim", func(c *Config) { c.Auth.UserClaim = "" }},
		{"auth.leeway", func(c *Config) { c.Auth.Leeway = time.Hour }},
		{"auth.cookie", func(c *Config) { c.Auth.Cookie = "session" }},
		{"", func(c *Config) { c.Auth.Cookie, c.Origins = "session", []string{"https://a.io"} }},
		{"auth.cookie", func(c *Config) { c.Auth.Cookie, c.Origins = "a b", []string{"https://a.io"} }},
		{"auth.warn_before", func(c *Config) { c.Auth.WarnBefore = -1 }},
		{"auth.publish_scope", func(c *Config) { c.Auth.PublishScope = "" }},
		{"auth.api_keys", func(c *Config) { c.Auth.APIKeys = []string{"judge:sbk_THEKEYITSELF"} }},
		{"auth.api_keys", func(c *Config) { c.Auth.APIKeys = []string{goodEntry, goodEntry} }},
		{"", func(c *Config) { c.Auth.APIKeys, c.Ops.Keys = []string{goodEntry}, []string{goodEntry} }},
		{"ops.keys", func(c *Config) { c.Ops.Keys = []string{"x"} }},
		{"ops.addr", func(c *Config) { c.Ops.Addr = "x" }},
		{"ops.addr", func(c *Config) { c.Ops.Addr = c.HTTP.Addr }},
		{"", func(c *Config) { c.HTTP.Addr, c.Ops.Addr = "127.0.0.1:0", "127.0.0.1:0" }},
		{"ops.pprof", func(c *Config) { c.Ops.Pprof = true }},
		{"ops.tls", func(c *Config) { c.Ops.Addr, c.Ops.TLS = ":3005", true }},
		{"", func(c *Config) { c.Ops.Addr, c.Ops.TLS, c.HTTP.TLS = ":3005", true, TLS{"x.pem", "x.key"} }},
		{"drain.duration", func(c *Config) { c.Drain.Duration = -1 }},
		{"log.format", func(c *Config) { c.Log.Format = "xml" }},
	}
	for _, test := range tests {
		c := Default()
		test.edit(&c)
		err := c.Validate()
		got := ""
		if err != nil {
			got = err.Error()
		}
		line, _, _ := strings.Cut(got, "\n")
		if (test.key == "") != (got == "") || !strings.HasPrefix(line, test.key) || strings.Contains(got, "\n") {
			t.Errorf("want one line that begins with %q, got %q", test.key, got)
		}
	}
}

func TestPrintIsAConfigFile(t *testing.T) {
	clean(t)
	t.Setenv("PORT", "4000")
	t.Setenv("ORIGIN", "https://a.io")
	want := mustLoad(t)
	var out bytes.Buffer
	if err := want.Print(&out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "  addr: :4000 # environment PORT\n") {
		t.Errorf("does not say who set http.addr:\n%s", &out)
	}
	if n := strings.Count(out.String(), "#"); n != 2 {
		t.Errorf("%d keys have a comment, want the two that are not the default:\n%s", n, &out)
	}
	clean(t, configFile, out.String())
	if diff := cmp.Diff(want, mustLoad(t), ignoreFrom); diff != "" {
		t.Errorf("printed and read again (-want +got):\n%s\n%s", diff, &out)
	}
}

func TestPrintMasksSecrets(t *testing.T) {
	clean(t)
	t.Setenv("REDIS_HOST", "redis")
	for _, name := range []string{"REDIS_PASSWORD", "NATS_TOKEN"} {
		t.Setenv(name, "hunter2")
	}
	t.Setenv("AUTH_SECRETS", "old:hunter2-"+strings.Repeat("x", 32)+",new:"+strings.Repeat("y", 32)+"hunter2")
	t.Setenv("NATS_URL", "nats://me:hunter2@a:4222,nats://hunter2@b:4222,nats://c:4222")
	var out bytes.Buffer
	if err := mustLoad(t).Print(&out); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "hunter2") {
		t.Errorf("a secret is shown:\n%s", &out)
	}
	for _, want := range []string{"nats://***@a:4222,nats://***@b:4222,nats://c:4222", "password: '***'", `sentinel_password: ""`, "secrets: '***'"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("lacks %q:\n%s", want, &out)
		}
	}
}
