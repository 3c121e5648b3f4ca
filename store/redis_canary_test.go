package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/bridge/bridgetest"
	"github.com/codewar/socketbridge/internal/testutil/metricstest"
	"github.com/codewar/socketbridge/store"
	"github.com/codewar/socketbridge/store/redistest"
)

// TestEmptiedRedisIsNoticed: a server that was emptied is still the same one, so only the value
// that a node left there tells.
func TestEmptiedRedisIsNoticed(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB) *redistest.Redis{"server": redistest.Server, "cluster": redistest.Cluster} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := start(t)
			cfg := store.Config{Addrs: []string{server.Addr}, Cluster: name == "cluster", Timeout: 10 * time.Second}
			r := openRedis(t, cfg, bridgetest.Limits{}, "a")
			reg := prometheus.NewRegistry()
			r.Measure(reg)
			ctx := t.Context()
			must(t, second(r.Beat(ctx)))
			back := func(want int) {
				t.Helper()
				if parts, err := r.WentBack(ctx); err != nil || parts != want {
					t.Fatalf("WentBack: %d, %v; want %d", parts, err, want)
				}
			}
			back(0)
			back(0)
			server.FlushScripts()
			back(0)
			server.FlushAll()
			if got := r.Locate(ctx, []bridge.UserID{"u"})[0]; !errors.Is(got.Err, bridge.ErrUnavailable) {
				t.Errorf("Locate: %+v", got)
			}
			back(1)
			back(0)
			if n := metricstest.Value(t, reg, "bridge_redis_went_back_total"); n != 1 {
				t.Errorf("counted %v times, want 1", n)
			}
		})
	}
}
