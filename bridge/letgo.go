package bridge

import (
	"slices"
	"time"
)

// Times of a node that cannot serve.
const (
	// letGoAfter is how long a node cannot serve before it lets its clients go. That NATS does not
	// answer takes some five seconds to be noticed before.
	letGoAfter = time.Second
	// letGoStep is how much later the next third of the nodes does.
	letGoStep = 3 * time.Second
	// letGoPause is the least time between two times that a node does: clients must not wander.
	letGoPause = 2 * time.Minute
)

// LetGo decides when a node that cannot serve lets its clients go, so that they reconnect to one
// that does. Its zero value is ready. Not safe for concurrent use.
type LetGo struct {
	since time.Time // the node cannot serve since then; zero: it does
	last  time.Time // when clients were last let go
}

// Decide is asked each second. serving are the nodes that serve and nodes all that live; each is
// empty when it cannot be known. Without another node that serves the clients stay. Of several
// nodes that do not serve, a third of all goes at a time.
func (l *LetGo) Decide(now time.Time, self NodeID, serves bool, serving, nodes []NodeID) bool {
	if serves {
		l.since = time.Time{}
		return false
	}
	if l.since.IsZero() {
		l.since = now
	}
	others := len(serving)
	if slices.Contains(serving, self) {
		others--
	}
	if others <= 0 || !l.last.IsZero() && now.Sub(l.last) < letGoPause {
		return false
	}
	var before []NodeID // that do not serve either, in the order in which they go
	for _, n := range nodes {
		if n < self && !slices.Contains(serving, n) {
			before = append(before, n)
		}
	}
	third := max(1, len(nodes)/3)
	if now.Sub(l.since) < letGoAfter+time.Duration(len(before)/third)*letGoStep {
		return false
	}
	l.last = now
	return true
}
