package main

import (
	"testing"

	"github.com/codewar/socketbridge/gateway/console"
)

// TestTryItIsForNewcomers: the page is there for who has configured nothing, and names
// an address that their publishers can use.
func TestTryItIsForNewcomers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*Config)
		nats   string // "": no page
	}{
		"nothing configured": {func(*Config) {}, "nats://127.0.0.1:4222"},
		"every address":      {func(c *Config) { c.NATS.Embedded.Addr = ":4223" }, "nats://127.0.0.1:4223"},
		"every IPv6 address": {func(c *Config) { c.NATS.Embedded.Addr = "[::]:4223" }, "nats://127.0.0.1:4223"},
		"a name":             {func(c *Config) { c.NATS.Embedded.Addr = "localhost:4222" }, "nats://localhost:4222"},
		"a NATS of its own":  {func(c *Config) { c.NATS.URL = "nats://a:4222" }, ""},
		"a Redis of its own": {func(c *Config) { c.Redis.Addrs = []string{"a:6379"} }, ""},
		"tokens":             {func(c *Config) { c.Auth.Mode = authJWT }, ""},
		"API keys":           {func(c *Config) { c.Auth.APIKeys = []string{"judge:00"} }, ""},
	} {
		cfg := defaultConfig()
		c.change(&cfg)
		page, there := tryIt(cfg).(console.TryIt)
		if there != (c.nats != "") || page.NATS != c.nats {
			t.Errorf("%s: %+v", name, page)
		}
	}
}
