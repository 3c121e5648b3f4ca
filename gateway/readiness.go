package gateway

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"
)

// readinessEvery is how often readiness is looked at for the log.
const readinessEvery = time.Second

// WatchReadiness logs each change of readiness until ctx ends, so that one finds out
// later when this node did not serve and why, whoever asked /readyz.
func (s *Server) WatchReadiness(ctx context.Context) {
	tick := time.NewTicker(readinessEvery)
	defer tick.Stop()
	said, since, without := "starting", time.Now(), ""
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		limited, cancel := context.WithTimeout(ctx, checkTimeout)
		reasons, degraded := s.health.reasons(limited)
		cancel()
		if names := strings.Join(slices.Sorted(maps.Keys(degraded)), ","); names != without && ctx.Err() == nil {
			if without = names; names != "" {
				s.log.LogAttrs(ctx, slog.LevelWarn, "node_degraded", slog.String("reason", names), slog.Any("details", degraded))
			}
		}
		names := strings.Join(slices.Sorted(maps.Keys(reasons)), ",")
		if names == said || ctx.Err() != nil {
			continue
		}
		took := slog.Duration("took", time.Since(since).Round(time.Millisecond))
		if names == "" {
			s.log.LogAttrs(ctx, slog.LevelInfo, "node_ready", took)
		} else {
			s.log.LogAttrs(ctx, slog.LevelWarn, "node_unready", slog.String("reason", names), slog.Any("details", reasons), took)
		}
		said, since = names, time.Now()
	}
}
