package limit

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/internal/metrics"
)

// RefusalCounter counts how often each of a set of names was the reason for a refusal, and
// logs it: one line for each name in ten seconds, with the number of refusals that the line
// stands for. Safe for concurrent use.
type RefusalCounter struct {
	log   *slog.Logger
	names map[string]*refusals // read-only
}

type refusals struct {
	n     prometheus.Counter
	lines bridge.LogLimiter
}

// NewRefusalCounter returns a counter of these names. It ignores all others.
func NewRefusalCounter(log *slog.Logger, names map[string]prometheus.Counter) *RefusalCounter {
	c := &RefusalCounter{log: log, names: make(map[string]*refusals, len(names))}
	for name, n := range names {
		c.names[name] = &refusals{n: n}
	}
	return c
}

// NewRefusals returns a counter of refusals by these limits, which have one metric with those
// of other packages.
func NewRefusals(reg prometheus.Registerer, log *slog.Logger, limits ...string) *RefusalCounter {
	return NewRefusalCounter(log, metrics.Counters(reg, "bridge_gateway_refusals_total", "Connections, requests and registrations that were refused, by the limit they had reached.", "limit", limits...))
}

// Due counts one refusal. It reports whether the caller is to log a line now, and how many
// refusals that stands for.
func (c *RefusalCounter) Due(name string) (times int, due bool) {
	r := c.names[name]
	if r == nil {
		return 0, false
	}
	r.n.Inc()
	return r.lines.Due(time.Now())
}

// Add counts one refusal for a limit and logs it when a line is due, with the address that
// was refused and more attributes.
func (c *RefusalCounter) Add(name string, from netip.Addr, more ...slog.Attr) {
	if times, due := c.Due(name); due {
		c.log.LogAttrs(context.Background(), slog.LevelWarn, "limit reached",
			append([]slog.Attr{slog.String("limit", name), slog.Int("times", times), slog.Any("address", from)}, more...)...)
	}
}

// Counts returns the count of each name, also zero.
func (c *RefusalCounter) Counts() map[string]uint64 {
	out := make(map[string]uint64, len(c.names))
	for name, r := range c.names {
		out[name] = metrics.Value(r.n)
	}
	return out
}
