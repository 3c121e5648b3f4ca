package bridge

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// Member keeps this node's lease alive, under which the registrations of its
// sockets are believed.
type Member struct {
	Lease    time.Duration                       // how long the store believes a silent node
	Beat     func(context.Context) (bool, error) // [Leases.Beat]
	WentBack func(context.Context) (int, error)  // [Leases.WentBack]
	Rejoined func(context.Context) error         // registers every local socket again
	Away     func(bool)                          // told whether the store may take this node for dead; may be nil
	Log      *slog.Logger
}

// beatEvery bounds how long a store that came back empty takes our users for
// absent: until the next beat a sender may be told that a connected user is offline.
const beatEvery = time.Second

// Run beats each second, and at least three times a lease, until ctx ends. When the
// lease had lapsed, or the store came back empty, it has every socket registered
// again, and again until that has worked. The same when a part of the store went back to an
// earlier state, which a lease that lives does not tell.
func (m Member) Run(ctx context.Context) {
	tick := time.NewTicker(min(beatEvery, m.Lease/3))
	defer tick.Stop()
	void := false // our registrations are
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
