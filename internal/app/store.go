package app

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/hub"
	"github.com/codewar/socketbridge/internal/config"
	"github.com/codewar/socketbridge/store"
	"github.com/codewar/socketbridge/subscriber"
)

// storeLimits returns what the store keeps, and for how long.
func storeLimits(cfg config.Config) store.Limits {
	return store.Limits{
		HistoryTTL:  cfg.History.TTL,
		NodeLease:   cfg.Node.Lease,
		SessionTTL:  hub.SessionTTL(cfg.History.TTL),
		MaxSessions: max(200, 2*cfg.Sockets.MaxPerUser), // sessions of connected sockets are never evicted
	}
}

// openStore opens Redis, or the in-memory store without redis.addrs.
func openStore(ctx context.Context, cfg config.Config, node bridge.NodeID, reg prometheus.Registerer, log *slog.Logger) (bridge.Store, error) {
	limits := storeLimits(cfg)
	if len(cfg.Redis.Addrs) == 0 {
		memory := store.NewMemory(limits)
		memory.Measure(reg)
		return memory.Node(node), nil
	}
	redis, err := store.OpenRedis(ctx, cfg.Store(), limits, node, log)
	if err != nil {
		return nil, err
	}
	redis.Measure(reg)
	return redis, nil
}

// Risks asks the servers of the configuration for settings that endanger delivery. The embedded
// servers have none.
func Risks(ctx context.Context, c config.Config, log *slog.Logger) (list []string, err error) {
	if c.NATS.URL != "" {
		if list, err = subscriber.Risks(ctx, c.NATS, log); err != nil {
			return nil, err
		}
	}
	if len(c.Redis.Addrs) == 0 {
		return list, nil
	}
	redis, err := store.OpenRedis(ctx, c.Store(), storeLimits(c), bridge.NodeID("check"), slog.New(slog.DiscardHandler)) // OpenRedis logs the same risks
	if err != nil {
		return nil, err
	}
	of, err := redis.Risks(ctx)
	if closing := redis.Close(); err == nil {
		err = closing
	}
	return append(list, of...), err
}
