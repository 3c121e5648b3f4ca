package app

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/hub"
	"github.com/codewar/socketbridge/internal/config"
	"github.com/codewar/socketbridge/internal/metrics"
	"github.com/codewar/socketbridge/subscriber"
)

// newCanary returns the canary of this node, or nil if canary.interval is 0.
func newCanary(cfg config.Canary, node bridge.NodeID, sub *subscriber.Client, reg prometheus.Registerer, log *slog.Logger) *bridge.Canary {
	if cfg.Interval == 0 {
		return nil
	}
	f := promauto.With(reg)
	seconds := f.NewHistogram(metrics.Histogram("bridge_canary_seconds", "Time of a canary from this node through NATS, leader and store back to this node.", 0.0005, 2.5, 12))
	c := bridge.NewCanary(bridge.CanaryConfig{
		Node: node, Interval: cfg.Interval, Limit: cfg.Limit,
		Publish: func(ctx context.Context, body []byte) (bridge.Offset, error) {
			return sub.Publish(ctx, subscriber.Publication{Topic: bridge.CanaryTopic, Body: body})
		},
		Leader:  sub.LeaderReads,
		Observe: func(took time.Duration) { seconds.Observe(took.Seconds()) },
		Log:     log.With("component", "canary"),
	})
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "bridge_canary_age_seconds",
		Help: "How long ago the newest canary that has come back was sent; since the start, before the first has. Without canary.interval there is none.",
	}, func() float64 { return c.State().Age.Seconds() })
	return c
}

// runCanary sends the canary and receives it until ctx ends.
func runCanary(c *bridge.Canary, node bridge.NodeID, hub *hub.Hub) func(context.Context) {
	return func(ctx context.Context) {
		var wg sync.WaitGroup
		wg.Go(func() { hub.Loopback(ctx, bridge.CanaryUser(node), c.Received) })
		wg.Go(func() { c.Run(ctx) })
		wg.Wait()
	}
}
