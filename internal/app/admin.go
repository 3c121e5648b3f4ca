package app

import (
	"context"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway"
	"github.com/codewar/socketbridge/gateway/admin"
	"github.com/codewar/socketbridge/gateway/hub"
	"github.com/codewar/socketbridge/internal/buildinfo"
	"github.com/codewar/socketbridge/internal/config"
	"github.com/codewar/socketbridge/internal/logging"
	"github.com/codewar/socketbridge/subscriber"
)

// parts are what the operators' API asks.
type parts struct {
	node  bridge.NodeID
	sub   *subscriber.Client
	store lookUps

	history bridge.History

	hub    *hub.Hub
	srv    *gateway.Server
	router *bridge.Router
	intake *subscriber.Intake
	feed   *admin.Feed
	canary *bridge.Canary // nil: there is none
	log    *logging.Handler
}

// adminDeps connects the operators' API to the parts it asks.
func adminDeps(cfg config.Config, p parts) admin.Deps {
	kind := "redis"
	if len(cfg.Redis.Addrs) == 0 {
		kind = "memory"
	}
	return admin.Deps{
		Node: p.node, Version: buildinfo.Version, Revision: buildinfo.Revision(), StoreKind: kind,
		HistoryTTL: cfg.History.TTL, MaxPerUser: cfg.History.MaxPerUser,
		Traces: cfg.History.Traces, TraceTTL: recordTTL(cfg), SubjectPrefix: cfg.NATS.SubjectPrefix,
		PingWindow: cfg.Sockets.PingInterval + cfg.Sockets.PingTimeout,
		Hub:        p.hub, Server: p.srv, Ledger: p.router.Ledger(), Store: p.store, History: p.history, Feed: p.feed, Log: p.log,
		Leading: func() (leading bool, read, last uint64) {
			lag := p.intake.Lag()
			return p.intake.Leading(), lag.Read, lag.Last
		},
		NATS:        func() admin.NATS { return natsState(p.sub.Status()) },
		Look:        p.sub.Look,
		QueryNodes:  p.sub.QueryNodes,
		Tell:        p.sub.NotifyNode,
		DeadLetters: letters(p.sub),
		Canary:      canaryState(p.canary),
	}
}

func natsState(s subscriber.Status) admin.NATS {
	return admin.NATS{
		Connected: s.Connected, URL: s.URL, Embedded: s.Embedded, RTTMillis: float64(s.RTT.Microseconds()) / 1000,
		Messages: s.Messages, Bytes: s.Bytes, First: s.First, Last: s.Last, Epoch: s.Epoch,
	}
}

// canaryState returns nil if there is no canary.
func canaryState(c *bridge.Canary) func() *admin.Canary {
	if c == nil {
		return nil
	}
	return func() *admin.Canary {
		s := c.State()
		return &admin.Canary{AgeMillis: float64(s.Age.Milliseconds()), OK: s.OK, LastMillis: float64(s.Last.Microseconds()) / 1000}
	}
}

// letters returns the function that reads the newest dead letters.
func letters(sub *subscriber.Client) func(context.Context, int) ([]admin.DeadLetter, uint64, error) {
	return func(ctx context.Context, limit int) (newest []admin.DeadLetter, total uint64, err error) {
		found, total, err := sub.RecentLetters(ctx, limit)
		for _, l := range found {
			newest = append(newest, admin.DeadLetter{
				Seq: l.Seq, At: l.At.UTC().Truncate(time.Millisecond), Subject: l.Subject, Code: l.Code, Reason: l.Reason,
				User: l.User, Bytes: l.Size, Offset: l.Offset,
			})
		}
		return newest, total, err
	}
}
