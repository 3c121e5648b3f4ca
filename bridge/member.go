package bridge

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// Member renews this node's lease in the store. The registrations of a node are valid while its lease
// is.
type Member struct {
	Lease    time.Duration                       // how long the lease is valid
	Beat     func(context.Context) (bool, error) // [Leases.Beat]
	WentBack func(context.Context) (int, error)  // [Leases.WentBack]
	Rejoined func(context.Context) error         // registers every local socket again
	Away     func(bool)                          // called with whether the lease may have expired; may be nil
	Log      *slog.Logger
}

// beatEvery bounds how long an empty store goes unnoticed after a restart: until the next beat a sender
// may be told that a connected user is offline.
const beatEvery = time.Second

// Run renews the lease each second, and at least three times a lease, until ctx ends. When the
// lease had expired, or the store came back empty, it registers every socket again, and retries until
// that has worked. It does the same when a part of the store went back to an earlier state: the
// lease may still be valid then.
func (m Member) Run(ctx context.Context) {
	tick := time.NewTicker(min(beatEvery, m.Lease/3))
	defer tick.Stop()
	void := false // the registrations of this node are not valid
	for first := true; ; first = false {
		rejoined, err := m.Beat(ctx)
		if rejoined && !first {
			m.Log.LogAttrs(ctx, slog.LevelWarn, "node lease was lost, registering every socket again")
		}
		parts, lost := m.WentBack(ctx)
		if parts > 0 {
			m.Log.LogAttrs(ctx, slog.LevelWarn, "store went back to an earlier state, registering every socket again", slog.Int("parts", parts))
		}
		void = void || rejoined || parts > 0
		if err == nil && void {
			err = m.Rejoined(ctx)
			void = err != nil
		}
		if m.Away != nil && ctx.Err() == nil {
			m.Away(err != nil)
		}
		if err = errors.Join(err, lost); err != nil && ctx.Err() == nil {
			m.Log.LogAttrs(ctx, slog.LevelDebug, "lease not renewed", slog.Any("err", err))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
