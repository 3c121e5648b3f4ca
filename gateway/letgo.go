package gateway

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// letGoOver is how long letting clients go takes.
const letGoOver = time.Second

// letGoFor are the checks that a node cannot serve without: what leaders forward does not reach it.
var letGoFor = []string{"nats", "canary"}

// Serving is the part of the store by which nodes know of each other whether they serve.
type Serving interface {
	Serving(ctx context.Context, serves bool) ([]bridge.NodeID, error)
	Nodes(ctx context.Context) ([]bridge.NodeID, error)
}

// KeepServing tells the other nodes whether this one serves and, when it does not and another
// does, lets the clients go, until ctx ends: they reconnect elsewhere. New ones are refused
// until it serves again.
func (s *Server) KeepServing(ctx context.Context, self bridge.NodeID, nodes Serving) {
	tick := time.NewTicker(readinessEvery)
	defer tick.Stop()
	var decision bridge.LetGo
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		limited, cancel := context.WithTimeout(ctx, checkTimeout)
		reasons, _ := s.health.reasons(limited)
		cancel()
		serving, err := nodes.Serving(ctx, len(reasons) == 0)
		var all []bridge.NodeID
		if err == nil {
			all, err = nodes.Nodes(ctx)
		}
		if err != nil {
			serving, all = nil, nil // nothing is known of others
		}
		without := slices.DeleteFunc(slices.Sorted(maps.Keys(reasons)), func(name string) bool { return !slices.Contains(letGoFor, name) })
		if len(without) == 0 {
			s.sio.Return()
		}
		if decision.Decide(time.Now(), self, len(without) == 0, serving, all) {
			s.log.LogAttrs(ctx, slog.LevelWarn, "clients are let go, other nodes serve", slog.String("reason", strings.Join(without, ",")), slog.Int("nodes", len(serving)))
			s.sio.LetGo(ctx, letGoOver)
		}
	}
}
