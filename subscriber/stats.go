package subscriber

import "sync/atomic"

// Stats counts what a Client has met, beside [Client.Status]. Reading it never waits.
type Stats struct {
	Reconnects uint64 // times that NATS was there again after it had been away
	Errors     uint64 // faults that the client library found by itself, mostly a subscription that was too slow
	Outbox     int    // messages that wait to be written to NATS
	// RefusedLinks counts messages on this node's own subject that no bridge of this version sends.
	RefusedLinks uint64
	// Dead and DeadBytes are the size of the stream of dead letters, at most five
	// seconds old while NATS is there.
	Dead, DeadBytes uint64
}

type counters struct{ reconnects, errors atomic.Uint64 }

// Stats returns the figures at this moment.
func (c *Client) Stats() Stats {
	dead := c.streams.deadState()
	var refused uint64
	if s := c.receiver.Load(); s != nil {
		refused = s.refused.Load()
	}
	return Stats{
		RefusedLinks: refused,

		Reconnects: c.counts.reconnects.Load(),
		Errors:     c.counts.errors.Load(),
		Outbox:     len(c.outbox.queue),
		Dead:       dead.messages, DeadBytes: dead.bytes,
	}
}

func (s *streams) deadState() streamState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dead
}

// IntakeStats counts what an intake has met.
type IntakeStats struct {
	Terms uint64 // times that this node became leader
	Lost  uint64 // messages that had left the stream before they were read
	Stops uint64 // times that reading was interrupted by a fault
}

type intakeCounters struct{ terms, lost, stops atomic.Uint64 }

// Stats returns the counts at this moment.
func (i *Intake) Stats() IntakeStats {
	return IntakeStats{i.counts.terms.Load(), i.counts.lost.Load(), i.counts.stops.Load()}
}
