package bridge

import (
	"slices"
	"time"
)

const (
	// disconnectAfter is how long a node cannot serve before it disconnects its clients. A failure of
	// NATS takes some five seconds to be noticed before that.
	disconnectAfter = time.Second
	// disconnectStep is how much later the next third of the nodes does so.
	disconnectStep = 3 * time.Second
	// disconnectPause is the least time between two times that a node does so: clients must not move
	// from node to node all the time.
	disconnectPause = 2 * time.Minute
)

// DisconnectPolicy decides when a node that cannot serve disconnects its clients, so that they
// reconnect to another node. Its zero value is ready. Not safe for concurrent use.
type DisconnectPolicy struct {
	since time.Time // when the node ceased to serve; zero: it serves
	last  time.Time // when clients were last disconnected
}

// Decide is called each second. serving are the nodes that serve, and nodes all that are alive; each
// is empty when it is not known. Clients stay connected when no other node serves. When several
// nodes do not serve, a third of all nodes disconnects its clients at a time.
func (p *DisconnectPolicy) Decide(now time.Time, self NodeID, serves bool, serving, nodes []NodeID) bool {
	if serves {
		p.since = time.Time{}
		return false
	}
	if p.since.IsZero() {
		p.since = now
	}
	others := len(serving)
	if slices.Contains(serving, self) {
		others--
	}
	if others <= 0 || !p.last.IsZero() && now.Sub(p.last) < disconnectPause {
		return false
	}
	before := 0 // nodes that do not serve and disconnect their clients before this one
	for _, n := range nodes {
		if n < self && !slices.Contains(serving, n) {
			before++
		}
	}
	third := max(1, len(nodes)/3)
	if now.Sub(p.since) < disconnectAfter+time.Duration(before/third)*disconnectStep {
		return false
	}
	p.last = now
	return true
}
