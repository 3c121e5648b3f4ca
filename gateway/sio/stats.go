package sio

import "sync/atomic"

// Stats is what a Server counts. Drops has every reason, also with zero.
type Stats struct {
	Websocket int // connections now, by transport
	Polling   int
	Drops     map[string]uint64 // connections that the server ended, by reason
	Panics    uint64            // recovered, of the Handler and elsewhere
}

type counters struct {
	websocket, polling atomic.Int64
	panics             atomic.Uint64
	drops              map[string]*atomic.Uint64 // never changed after New
}

// Stats returns the counts at this moment.
func (s *Server) Stats() Stats {
	out := Stats{
		Websocket: int(s.stats.websocket.Load()),
		Polling:   int(s.stats.polling.Load()),
		Panics:    s.stats.panics.Load(),
		Drops:     make(map[string]uint64, len(s.stats.drops)),
	}
	for reason, n := range s.stats.drops {
		out.Drops[reason] = n.Load()
	}
	return out
}

func (c *counters) gauge(transport string) *atomic.Int64 {
	if transport == websocketTransport {
		return &c.websocket
	}
	return &c.polling
}

func (c *counters) opened(transport string) { c.gauge(transport).Add(1) }

func (c *counters) moved(from, to string) {
	c.gauge(from).Add(-1)
	c.gauge(to).Add(1)
}

func (c *counters) ended(transport, reason string) {
	c.gauge(transport).Add(-1)
	if n := c.drops[reason]; n != nil {
		n.Add(1)
	}
}
