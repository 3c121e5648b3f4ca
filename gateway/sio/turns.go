package sio

import (
	"context"
	"time"
)

// turns bound what connects may have of the machine. The work of a connect is done by
// turns, half as many at a time as there are processors, with rests between them: in a
// storm of thousands the others wait, not ready to run. The runtime has no
// priorities, and while there is always somebody ready to run it looks at the
// network once in ten milliseconds: what is pushed comes and goes by the network,
// and would be late by that at each of its steps.
//
// Nobody may wait for a client, or for a store, in a turn.
type turns struct {
	free chan *turn // those that nobody has
}

// turn is used by one goroutine at a time.
type turn struct {
	began, ended time.Time
	debt         time.Duration // of rest
}

// restShare is how much rest there is to so much work. More is better for pushes and
// worse for connects: docs/bench/connections.md has the curve.
const restShare = 0.5

// restAtOnce is how much rest a turn gathers before it takes it: a millisecond is the
// least that the runtime sleeps.
const restAtOnce = time.Millisecond

func newTurns(n int) turns {
	t := turns{free: make(chan *turn, n)}
	for range n {
		t.free <- new(turn)
	}
	return t
}

// take waits for a turn. It returns nil when ctx ends first.
func (t turns) take(ctx context.Context) *turn {
	select {
	case mine := <-t.free:
		mine.began = time.Now()
		mine.debt = max(mine.debt-mine.began.Sub(mine.ended), 0) // nobody wanted it meanwhile
		return mine
	case <-ctx.Done():
		return nil
	}
}

// end lets the next one have the turn, after its rest. Nil has ended already.
func (t turns) end(mine *turn) {
	if mine == nil {
		return
	}
	mine.ended = time.Now()
	mine.debt += time.Duration(restShare * float64(mine.ended.Sub(mine.began)))
	if mine.debt < restAtOnce {
		t.free <- mine
		return
	}
	time.AfterFunc(mine.debt, func() { t.free <- mine })
}

// WithConnectSlot calls do, which must not wait for anything, when it is its turn among what connects
// cost. It reports false, and has not called it, when ctx ends before.
func (s *Server) WithConnectSlot(ctx context.Context, do func()) bool {
	t := s.limits.turns.take(ctx)
	if t == nil {
		return false
	}
	defer s.limits.turns.end(t)
	do()
	return true
}
