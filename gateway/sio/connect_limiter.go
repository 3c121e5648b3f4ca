package sio

import (
	"context"
	"time"
)

// connectLimiter limits how many connects do work at the same time: half as many as there are
// processors. A slot cools down for half the time that it was used. The Go runtime has no
// priorities and, while any goroutine is ready to run, polls the network once in ten
// milliseconds; a message passes the network several times. Without idle time between connects
// a storm of thousands of them delays each message at each of its steps.
//
// Figure: in a storm of 5,000 connects the others' messages took 5 ms (p50) and 22 to 40 ms (p99)
// instead of 35 to 45 and 94 to 144 (docs/bench/connections.md).
//
// The holder of a slot must not wait for a client or a store.
type connectLimiter struct {
	free chan *connectSlot
}

// connectSlot is used by one goroutine at a time.
type connectSlot struct {
	began, ended time.Time
	cooldown     time.Duration // owed for the work done
}

const (
	// cooldownShare is the cooldown for each unit of work. A larger share delays messages less
	// and connects more: docs/bench/connections.md has the curve.
	cooldownShare = 0.5
	// minCooldown is the least time that the runtime sleeps. A shorter cooldown accumulates.
	minCooldown = time.Millisecond
)

func newConnectLimiter(slots int) connectLimiter {
	l := connectLimiter{make(chan *connectSlot, slots)}
	for range slots {
		l.free <- new(connectSlot)
	}
	return l
}

// take waits for a slot. It returns nil when ctx ends first.
func (l connectLimiter) take(ctx context.Context) *connectSlot {
	select {
	case slot := <-l.free:
		slot.began = time.Now()
		slot.cooldown = max(slot.cooldown-slot.began.Sub(slot.ended), 0) // the slot was idle meanwhile
		return slot
	case <-ctx.Done():
		return nil
	}
}

// release frees the slot after its cooldown. A nil slot is ignored.
func (l connectLimiter) release(slot *connectSlot) {
	if slot == nil {
		return
	}
	slot.ended = time.Now()
	slot.cooldown += time.Duration(cooldownShare * float64(slot.ended.Sub(slot.began)))
	if slot.cooldown < minCooldown {
		l.free <- slot
		return
	}
	time.AfterFunc(slot.cooldown, func() { l.free <- slot })
}

// WithConnectSlot calls do, which must not wait for anything, with one of the slots that
// limit what connects cost. It reports false, and does not call do, when ctx ends first.
func (s *Server) WithConnectSlot(ctx context.Context, do func()) bool {
	slot := s.limits.connects.take(ctx)
	if slot == nil {
		return false
	}
	defer s.limits.connects.release(slot)
	do()
	return true
}
