package main

import (
	"net/http"
	"testing"

	"github.com/codewar/socketbridge/gateway"
	"github.com/codewar/socketbridge/gateway/auth"
	"github.com/codewar/socketbridge/gateway/console"
	"github.com/codewar/socketbridge/internal/config"
)

// TestPlainDevelopment: each setting of a service for others ends a plain development
// start, and with it the try-it page and the operators' routes without a key.
func TestPlainDevelopment(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*config.Config)
		nats   string // that the page names; "": no page
	}{
		"nothing configured":    {func(*config.Config) {}, "nats://127.0.0.1:4222"},
		"a name":                {func(c *config.Config) { c.NATS.Embedded.Addr = "localhost:4223" }, "nats://localhost:4223"},
		"another port":          {func(c *config.Config) { c.HTTP.Addr = "127.0.0.1:80" }, "nats://127.0.0.1:4222"},
		"NATS on every address": {func(c *config.Config) { c.NATS.Embedded.Addr = ":4223" }, ""},
		"NATS on IPv6":          {func(c *config.Config) { c.NATS.Embedded.Addr = "[::]:4223" }, ""},
		"a NATS of its own":     {func(c *config.Config) { c.NATS.URL = "nats://a:4222" }, ""},
		"a Redis of its own":    {func(c *config.Config) { c.Redis.Addrs = []string{"a:6379"} }, ""},
		"production":            {func(c *config.Config) { c.Node.Env = config.Production }, ""},
		"another environment":   {func(c *config.Config) { c.Node.Env = "staging" }, ""},
		"tokens":                {func(c *config.Config) { c.Auth.Mode = config.AuthJWT }, ""},
		"insecure on purpose":   {func(c *config.Config) { c.Auth.AllowInsecure = true }, ""},
		"API keys":              {func(c *config.Config) { c.Auth.APIKeys = []string{"judge:00"} }, ""},
		"origins":               {func(c *config.Config) { c.Origins = []string{"https://codewar.example"} }, ""},
		"a trusted proxy":       {func(c *config.Config) { c.HTTP.TrustedProxies = []string{"10.0.0.0/8"} }, ""},
		"a certificate":         {func(c *config.Config) { c.HTTP.TLS.Cert = "cert.pem" }, ""},
		"operators' listener":   {func(c *config.Config) { c.Ops.Addr = "127.0.0.1:3005" }, ""},
		"operators' keys":       {func(c *config.Config) { c.Ops.Keys = []string{"me:00"} }, ""},
	} {
		cfg := config.Default()
		c.change(&cfg)
		page, there := tryIt(cfg).(console.TryIt)
		if there != (c.nats != "") || page.NATS != c.nats || cfg.PlainDevelopment() != there || gatewayConfig(cfg, gateway.AuthConfig{}).Development != there {
			t.Errorf("%s: plain development start %v, page %+v", name, cfg.PlainDevelopment(), page)
		}
	}
}

// TestOperatorsRoutesNeedAKey: outside of a plain development start the public listener
// has no operators' routes for a client without a key, not even on this machine.
func TestOperatorsRoutesNeedAKey(t *testing.T) {
	_, api := auth.NewAPIKey("judge")
	key, entry := auth.NewAPIKey("me")
	for name, tt := range map[string]struct {
		args          []string
		without, with int
	}{
		"plain":            {nil, http.StatusOK, http.StatusOK},
		"API keys":         {[]string{"auth.api_keys=" + api}, http.StatusNotFound, http.StatusNotFound},
		"origins":          {[]string{"origins=https://codewar.example"}, http.StatusNotFound, http.StatusNotFound},
		"trusted proxy":    {[]string{"http.trusted_proxies=127.0.0.1"}, http.StatusNotFound, http.StatusNotFound},
		"staging":          {[]string{"node.env=staging"}, http.StatusNotFound, http.StatusNotFound},
		"keys":             {[]string{"ops.keys=" + entry}, http.StatusUnauthorized, http.StatusOK},
		"keys, production": {[]string{"ops.keys=" + entry, "node.env=production", "auth.allow_insecure=true"}, http.StatusUnauthorized, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			var args []string
			for _, set := range append(tt.args, "drain.duration=0s") {
				args = append(args, "--set", set)
			}
			p := startProgram(t, args...)
			for _, path := range []string{"/metrics", "/api/v1/users", "/api/v1/cluster", "/console", "/api/v1/logs"} {
				if status, _, body := p.request(t, "GET", path); status != tt.without {
					t.Errorf("%s without a key: %d %.100s, want %d", path, status, body, tt.without)
				}
				if status, _, body := p.request(t, "GET", path, "X-API-Key", key); status != tt.with {
					t.Errorf("%s with the key: %d %.100s, want %d", path, status, body, tt.with)
				}
			}
			p.wait(t)
		})
	}
}
