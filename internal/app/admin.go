package app

import (
	"context"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/admin"
	"github.com/codewar/socketbridge/internal/buildinfo"
	"github.com/codewar/socketbridge/internal/config"
	"github.com/codewar/socketbridge/subscriber"
)

// lookUps has the data that operators look up.
type lookUps struct {
	bridge.Store
	bridge.Records
}

// recordTTL returns how long delivery records are kept: longer than the history, so that operators can
// tell an expired message from one that was never published.
func recordTTL(cfg config.Config) time.Duration { return cfg.History.TTL + time.Hour }

// adminConfig returns what the operators' service shows of the configuration.
func adminConfig(cfg config.Config) admin.Deps {
	kind := "redis"
	if len(cfg.Redis.Addrs) == 0 {
		kind = "memory"
	}
	return admin.Deps{
		Version: buildinfo.Version, Revision: buildinfo.Revision(), StoreKind: kind,
		HistoryTTL: cfg.History.TTL, MaxPerUser: cfg.History.MaxPerUser,
		Traces: cfg.History.Traces, TraceTTL: recordTTL(cfg), SubjectPrefix: cfg.NATS.SubjectPrefix,
		PingWindow: cfg.Sockets.PingInterval + cfg.Sockets.PingTimeout,
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
		found, total, err := sub.RecentDeadLetters(ctx, limit)
		for _, l := range found {
			newest = append(newest, admin.DeadLetter{
				Seq: l.Seq, At: l.At.UTC().Truncate(time.Millisecond), Subject: l.Subject, Code: l.Code, Reason: l.Reason,
				User: l.User, Bytes: l.Size, Offset: l.Offset,
			})
		}
		return newest, total, err
	}
}
