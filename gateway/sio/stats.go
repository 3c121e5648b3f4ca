package sio

import (
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
	drops, refusals    *limit.Tally
	handshakes         *limit.Tally // refused, by refusalNames
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

func (c *counters) ended(transport, reason string, from netip.Addr) {
	c.gauge(transport).Add(-1)
	if reason == ReasonPingTimeout {
		c.drops.Count(reason) // phones in tunnels are no news
		return
	}
	c.drops.Add(reason, from)
}
