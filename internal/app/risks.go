package app

import (
	"context"
	"log/slog"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/internal/config"
	"github.com/codewar/socketbridge/store"
	"github.com/codewar/socketbridge/subscriber"
)

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
