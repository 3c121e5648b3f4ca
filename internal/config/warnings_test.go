package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/codewar/socketbridge/subscriber"
)

// safe is a configuration without a warning, with everything on other machines.
func safe() Config {
	c := Default()
	c.Origins = []string{"https://a.io"}
	c.Auth.Mode, c.Auth.JWKSURL, c.Auth.Issuer, c.Auth.Audience = AuthJWT, "https://id.example/jwks", "https://id.example", []string{"bridge"}
	c.NATS.URL, c.NATS.User, c.NATS.Password = "tls://nats:4222", "bridge", "p"
	c.Redis.Addrs, c.Redis.Username, c.Redis.Password, c.Redis.TLS.Enabled = []string{"redis:6379"}, "bridge", "p", true
	c.Ops.Addr, c.Ops.Keys = ":3005", []string{goodEntry}
	return c
}

// TestWarnings: one sentence for each unsafe combination, and none for what is safe.
func TestWarnings(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		edit func(*Config)
		keys []string // that the warnings begin with, in order
	}{
		"safe":                         {func(*Config) {}, nil},
		"defaults":                     {func(c *Config) { *c = Default() }, []string{"auth.mode", "auth.api_keys", "origins"}},
		"mode none":                    {func(c *Config) { c.Auth = defaultAuth() }, []string{"auth.mode", "auth.api_keys"}},
		"mode none with callers' keys": {func(c *Config) { c.Auth = defaultAuth(); c.Auth.APIKeys = []string{goodEntry} }, []string{"auth.mode"}},
		"any issuer":                   {func(c *Config) { c.Auth.Issuer = "" }, []string{"auth.issuer"}},
		"any audience":                 {func(c *Config) { c.Auth.Audience = nil }, []string{"auth.audience"}},
		"keys over http":               {func(c *Config) { c.Auth.JWKSURL, c.Auth.AllowInsecure = "http://id.example/jwks", true }, []string{"auth.jwks_url"}},
		"keys over http from here":     {func(c *Config) { c.Auth.JWKSURL = "http://localhost/jwks" }, nil},
		"every origin":                 {func(c *Config) { c.Origins = nil }, []string{"origins"}},
		"ops without keys":             {func(c *Config) { c.Ops.Keys = nil }, []string{"ops.keys"}},
		"ops without keys on loopback": {func(c *Config) { c.Ops.Addr, c.Ops.Keys = "127.0.0.1:3005", nil }, nil},
		"no ops":                       {func(c *Config) { c.Ops = Ops{} }, []string{"ops.addr"}},
		"pprof":                        {func(c *Config) { c.Ops.Pprof = true }, []string{"ops.pprof"}},
		"pprof on loopback":            {func(c *Config) { c.Ops.Addr, c.Ops.Pprof = "[::1]:3005", true }, nil},
		"nats without login":           {func(c *Config) { c.NATS.User, c.NATS.Password = "", "" }, []string{"nats.url"}},
		"nats with login in the url":   {func(c *Config) { c.NATS.User, c.NATS.Password, c.NATS.URL = "", "", "tls://u:hunter2@nats" }, nil},
		"nats with a certificate":      {func(c *Config) { c.NATS.User, c.NATS.TLS = "", subscriber.TLSConfig{Cert: "c", Key: "k"} }, nil},
		"nats without tls":             {func(c *Config) { c.NATS.URL = "nats://a:hunter2@nats:4222" }, []string{"nats.url"}},
		"one of two without tls":       {func(c *Config) { c.NATS.URL = "tls://a:4222,b" }, []string{"nats.url"}},
		"nats with its own authority":  {func(c *Config) { c.NATS.URL, c.NATS.TLS.CA = "nats://nats:4222", "ca.pem" }, nil},
		"bare nats":                    {func(c *Config) { c.NATS.URL, c.NATS.User = "nats", "" }, []string{"nats.url", "nats.url"}},
		"bare nats on loopback":        {func(c *Config) { c.NATS.URL, c.NATS.User = "nats://127.0.0.1:4222,localhost", "" }, nil},
		"embedded for others":          {func(c *Config) { c.NATS.URL, c.NATS.Embedded.Addr = "", ":4222" }, []string{"nats.embedded.addr"}},
		"nats with memory":             {func(c *Config) { c.Redis = Default().Redis }, []string{"redis.addrs"}},
		"redis without login":          {func(c *Config) { c.Redis.Password = "" }, []string{"redis.addrs"}},
		"redis without tls":            {func(c *Config) { c.Redis.TLS.Enabled = false }, []string{"redis.addrs"}},
		"redis on loopback": {func(c *Config) {
			c.Redis.Password, c.Redis.TLS.Enabled, c.Redis.Addrs = "", false, []string{"localhost:1"}
		}, nil},
		"redis on a unix socket": {func(c *Config) { c.Redis.Password, c.Redis.TLS.Enabled, c.Redis.Addrs = "", false, []string{"/run/r"} }, nil},
	} {
		c := safe()
		tt.edit(&c)
		var keys []string
		for _, w := range c.Warnings() {
			key, _, _ := strings.Cut(w, " ")
			keys = append(keys, key)
			if strings.Contains(w, "hunter2") || strings.ContainsAny(w, "\n.") && strings.HasSuffix(w, ".") {
				t.Errorf("%s: not one sentence without a secret: %q", name, w)
			}
		}
		if d := cmp.Diff(tt.keys, keys); d != "" {
			t.Errorf("%s (-want +got):\n%s%s", name, d, strings.Join(c.Warnings(), "\n"))
		}
	}
}
