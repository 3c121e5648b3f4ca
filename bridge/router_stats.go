package bridge

import (
	"errors"
	"sync/atomic"
)

// RouterStats counts what the router has met while this node was leader.
type RouterStats struct {
	// Look-ups of the users of a batch: with a live socket somewhere, without, and failed.
	Hits, Misses, Unlocated uint64
	// Forwards by how they ended: answered, certainly not received, or not known
	// because no answer came in time.
	Answered, Gone, Unsure uint64
	// DeadLost counts messages that broke the rules and have no dead letter, because the bus
	// refused it.
	DeadLost uint64
}

type routerCounters struct {
	hits, misses, unlocated atomic.Uint64

	answered, gone, unsure atomic.Uint64
	deadLost               atomic.Uint64
}

// Stats returns the counts at this moment.
func (r *Router) Stats() RouterStats {
	c := &r.counts
	return RouterStats{
		c.hits.Load(), c.misses.Load(), c.unlocated.Load(),
		c.answered.Load(), c.gone.Load(), c.unsure.Load(), c.deadLost.Load(),
	}
}

// located counts the look-ups of a batch.
func (c *routerCounters) located(found []Located) {
	var hits, failed uint64
	for i := range found {
		switch {
		case found[i].Err != nil:
			failed++
		case len(found[i].Sockets) > 0:
			hits++
		}
	}
	c.hits.Add(hits)
	c.unlocated.Add(failed)
	c.misses.Add(uint64(len(found)) - hits - failed)
}

// forwarded counts a forward that has ended.
func (c *routerCounters) forwarded(err error) {
	switch {
	case err == nil:
		c.answered.Add(1)
	case errors.Is(err, ErrNodeGone):
		c.gone.Add(1)
	default:
		c.unsure.Add(1)
	}
}
