package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway"
	"github.com/codewar/socketbridge/subscriber"
)

// canaryConfig says how this node sees for itself that messages arrive.
type canaryConfig struct {
	Interval time.Duration `mapstructure:"interval"` // 0: no canary
	Limit    time.Duration `mapstructure:"limit"`    // the age at which the node is not ready
}

func (c Config) checkCanary(v *validation) {
	v.require(c.Canary.Interval == 0 || c.Canary.Interval >= 100*time.Millisecond, "canary.interval", c.Canary.Interval, "must be 100ms or more, or 0s for no canary")
	v.require(c.Canary.Interval == 0 || c.Canary.Limit > c.Canary.Interval+subscriber.LeaderChange, "canary.limit", c.Canary.Limit,
		"must be more than canary.interval and the 2s in which a leader is replaced, or all nodes would be unready at each change")
}

// newCanary makes this node's canary, or nil when there is to be none.
func newCanary(cfg canaryConfig, node bridge.NodeID, sub *subscriber.Client, m *metrics, log *slog.Logger) *bridge.Canary {
	if cfg.Interval == 0 {
		return nil
	}
	return bridge.NewCanary(bridge.CanaryConfig{
		Node: node, Interval: cfg.Interval, Limit: cfg.Limit,
		Publish: func(ctx context.Context, body []byte) (bridge.Offset, error) {
			return sub.Publish(ctx, subscriber.Publication{Topic: bridge.CanaryTopic, Body: body})
		},
		Leader:  sub.LeaderReads,
		Observe: m.observeCanary,
		Log:     log.With("component", "canary"),
	})
}

// fly sends the canary and takes it back until ctx ends.
func fly(c *bridge.Canary, node bridge.NodeID, hub *gateway.Hub) func(context.Context) {
	return func(ctx context.Context) {
		var wg sync.WaitGroup
		wg.Go(func() { hub.Loopback(ctx, bridge.CanaryUser(node), c.Back) })
		wg.Go(func() { c.Run(ctx) })
		wg.Wait()
	}
}

// watchCanary shows the canary's age.
func (m *metrics) watchCanary(c *bridge.Canary) {
	m.registry.MustRegister(m.canary, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "bridge_canary_age_seconds",
		Help: "How long ago the newest canary that has come back was sent; since the start, before the first has. Without canary.interval there is none.",
	}, func() float64 { return c.State().Age.Seconds() }))
}

func (m *metrics) observeCanary(took time.Duration) { m.canary.Observe(took.Seconds()) }
