package app

import (
	"testing"

	"github.com/codewar/socketbridge/gateway"
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
