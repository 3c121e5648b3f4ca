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

const (
	// readinessEvery is how often readiness is checked, for the log and the other nodes.
	readinessEvery = time.Second
	// letGoOver is the time over which clients are disconnected.
	letGoOver = time.Second
	// nodeCheck is the check that fails while another process has this node's id.
	nodeCheck = "node"
)

// letGoFor are the checks that a node cannot serve without: the messages that leaders forward do
// not reach it, or reach another process too.
var letGoFor = []string{"nats", "canary", nodeCheck}

// Serving is the part of the store by which nodes tell each other whether they serve.
type Serving interface {
	Serving(ctx context.Context, serves bool) ([]bridge.NodeID, error)
	Nodes(ctx context.Context) ([]bridge.NodeID, error)
}

// KeepServing logs each change of readiness and tells the other nodes whether this node serves,
// until ctx ends. When this node does not serve and another does, it disconnects its clients, which
// reconnect elsewhere, and refuses new ones until it serves again.
func (s *Server) KeepServing(ctx context.Context, self bridge.NodeID, nodes Serving) {
	tick := time.NewTicker(readinessEvery)
	defer tick.Stop()
	said := readinessLog{log: s.log, reasons: "starting", since: time.Now()}
	var decision bridge.DisconnectPolicy
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		reasons, degraded := s.health.reasons(ctx)
		if ctx.Err() != nil {
			return
		}
		said.say(ctx, reasons, degraded)
		_, taken := reasons[nodeCheck]
		s.calls.Hold(taken)
		without := slices.DeleteFunc(slices.Sorted(maps.Keys(reasons)), func(name string) bool { return !slices.Contains(letGoFor, name) })
		switch {
		case taken:
			s.sio.Pause()
		case len(without) == 0:
			s.sio.Resume()
		}
		serving, err := nodes.Serving(ctx, len(reasons) == 0)
		var all []bridge.NodeID
		if err == nil && len(without) > 0 {
			all, err = nodes.Nodes(ctx)
		}
		if err != nil {
			serving, all = nil, nil // the state of the other nodes is unknown
		}
		if decision.Decide(time.Now(), self, len(without) == 0, serving, all) {
			s.log.LogAttrs(ctx, slog.LevelWarn, "clients are let go, other nodes serve", slog.String("reason", strings.Join(without, ",")), slog.Int("nodes", len(serving)))
			s.sio.Evacuate(ctx, letGoOver)
		}
	}
}

// readinessLog logs each change of readiness, with the reasons, also when /readyz is not requested.
type readinessLog struct {
	log      *slog.Logger
	reasons  string // logged last
	since    time.Time
	degraded string // logged last
}

func (l *readinessLog) say(ctx context.Context, reasons, degraded map[string]string) {
	if names := strings.Join(slices.Sorted(maps.Keys(degraded)), ","); names != l.degraded {
		if l.degraded = names; names != "" {
			l.log.LogAttrs(ctx, slog.LevelWarn, "node_degraded", slog.String("reason", names), slog.Any("details", degraded))
		}
	}
	names := strings.Join(slices.Sorted(maps.Keys(reasons)), ",")
	if names == l.reasons {
		return
	}
	took := slog.Duration("took", time.Since(l.since).Round(time.Millisecond))
	if names == "" {
		l.log.LogAttrs(ctx, slog.LevelInfo, "node_ready", took)
	} else {
		l.log.LogAttrs(ctx, slog.LevelWarn, "node_unready", slog.String("reason", names), slog.Any("details", reasons), took)
	}
	l.reasons, l.since = names, time.Now()
}
