package limit

import (
	"context"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// Tally counts how often each limit was reached and logs it, one line for each
// limit in ten seconds, with the number of times that the line stands for.
type Tally struct {
	log   *slog.Logger
	names map[string]*tally // never changed after NewTally
}

type tally struct {
	n     atomic.Uint64
	quiet bridge.Quiet
}

// NewTally makes an account of these limits and of no others.
func NewTally(log *slog.Logger, limits ...string) *Tally {
	t := &Tally{log: log, names: make(map[string]*tally, len(limits))}
	for _, name := range limits {
		t.names[name] = new(tally)
	}
	return t
}

// Count counts one and says nothing. A limit that the account does not have is nothing.
func (t *Tally) Count(limit string) {
	if c := t.names[limit]; c != nil {
		c.n.Add(1)
	}
}

// Add counts one, and says so when it is time to. The address is that of this one;
// more is what else tells who it is.
func (t *Tally) Add(limit string, from netip.Addr, more ...slog.Attr) {
	if times, due := t.Due(limit); due {
		t.log.LogAttrs(context.Background(), slog.LevelWarn, "limit reached",
			append([]slog.Attr{slog.String("limit", limit), slog.Int("times", times), slog.Any("address", from)}, more...)...)
	}
}

// Due counts one, for a caller with a line of its own, and reports whether to write that
// now and how many times it stands for.
func (t *Tally) Due(limit string) (times int, due bool) {
	c := t.names[limit]
	if c == nil {
		return 0, false
	}
	c.n.Add(1)
	return c.quiet.Due(time.Now())
}

// Counts returns every limit with its count, also zero.
func (t *Tally) Counts() map[string]uint64 {
	out := make(map[string]uint64, len(t.names))
	for name, c := range t.names {
		out[name] = c.n.Load()
	}
	return out
}
