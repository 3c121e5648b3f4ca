package app

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/codewar/socketbridge/internal/config"
)

// TestFitDescriptors: whatever is configured, all connections together and the files
// of the process are fewer than its descriptors.
func TestFitDescriptors(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		descriptors uint64
		change      func(*config.Config)
		lowered     bool
	}{
		"few":            {256, func(*config.Config) {}, true},
		"few, all parts": {256, func(c *config.Config) { c.Ops.Addr, c.Redis.Addrs = ":3005", []string{"a"} }, true},
		"usual":          {1024, func(c *config.Config) { c.Ops.Addr = ":3005" }, true},
		"no limits":      {4096, func(c *config.Config) { c.HTTP.MaxConnections, c.Sockets.MaxConnections = 0, 0 }, true},
		"a cluster":      {1024, func(c *config.Config) { c.NATS.URL, c.Redis.Addrs = "a", strings.Split(strings.Repeat("a,", 99), ",") }, true},
		"many":           {1 << 20, func(c *config.Config) { c.Ops.Addr = ":3005" }, false},
		"without an end": {1<<64 - 1, func(*config.Config) {}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config.Default()
			tt.change(&cfg)
			var out bytes.Buffer
			got := fitDescriptors(cfg, tt.descriptors, slog.New(slog.NewTextHandler(&out, nil)))
			sum := uint64(got.HTTP.MaxConnections + processDescriptors)
			if got.Ops.Addr != "" {
				sum += uint64(got.Ops.MaxConnections)
			}
			if got.NATS.URL == "" {
				sum += uint64(got.NATS.Embedded.MaxConnections + streamDescriptors)
			}
			if sum > tt.descriptors || got.HTTP.MaxConnections < leastConnections {
				t.Errorf("%d for http.addr, %d in all, of %d", got.HTTP.MaxConnections, sum, tt.descriptors)
			}
			if got.Sockets.MaxConnections == 0 || got.Sockets.MaxConnections >= got.HTTP.MaxConnections {
				t.Errorf("%d sockets of %d connections leave no room for callers", got.Sockets.MaxConnections, got.HTTP.MaxConnections)
			}
			if lowered := got.HTTP.MaxConnectionsPerAddress < cfg.HTTP.MaxConnectionsPerAddress; lowered != tt.lowered || lowered != (out.Len() > 0) {
				t.Errorf("lowered: %v, want %v; log: %s", lowered, tt.lowered, &out)
			}
		})
	}
}
