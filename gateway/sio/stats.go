package sio

import (
	"context"
	"log/slog"
	"net/netip"
	"sync/atomic"

	"github.com/codewar/socketbridge/gateway/limit"
)

// Stats is what a Server counts. Drops and Refusals have every reason and limit,
// also with zero.
type Stats struct {
	Websocket int // connections now, by transport
	Polling   int
	Memory    int64             // bytes held for clients, as Config.Memory bounds them
	Opened    uint64            // connections since the start
	Drops     map[string]uint64 // connections that the server ended, by reason
	Refusals  map[string]uint64 // handshakes that it refused, by limit
	Panics    uint64            // recovered, of the Handler and elsewhere
}

type counters struct {
	websocket, polling atomic.Int64
	all                atomic.Uint64 // connections since the start
	panics             atomic.Uint64
	drops, refusals    *limit.RefusalCounter
	handshakes         *limit.RefusalCounter // refused, by refusalNames
}

// Stats returns the counts at this moment.
func (s *Server) Stats() Stats {
	return Stats{
		Websocket: int(s.stats.websocket.Load()),
		Polling:   int(s.stats.polling.Load()),
		Memory:    s.memory.Held(),
		Opened:    s.stats.all.Load(),
		Panics:    s.stats.panics.Load(),
		Drops:     s.stats.drops.Counts(),
		Refusals:  s.stats.refusals.Counts(),
	}
}

func (c *counters) gauge(transport string) *atomic.Int64 {
	if transport == websocketTransport {
		return &c.websocket
	}
	return &c.polling
}

func (c *counters) opened(transport string) {
	c.gauge(transport).Add(1)
	c.all.Add(1)
}

func (c *counters) moved(from, to string) {
	c.gauge(from).Add(-1)
	c.gauge(to).Add(1)
}

// countEnd counts the end of a connection. The log has a line for each reason in ten
// seconds, except for a ping timeout, which is ordinary for phones. A goroutine of its own
// writes the line: the caller holds conn.mu, and the log may block.
func (s *Server) countEnd(transport, reason string, from netip.Addr) {
	s.stats.gauge(transport).Add(-1)
	if reason == ReasonPingTimeout {
		s.stats.drops.Count(reason)
		return
	}
	if times, due := s.stats.drops.Due(reason); due {
		s.work.Go(func() {
			s.log.LogAttrs(context.Background(), slog.LevelWarn, "connection dropped",
				slog.String("reason", reason), slog.Int("times", times), slog.Any("address", from))
		})
	}
}
