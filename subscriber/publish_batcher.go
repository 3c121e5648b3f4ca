package subscriber

import (
	"math"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// batchInFlight is how many publications may wait for their receipts, each sent on its own.
	batchInFlight = 16
	// batchLimit bounds how long a publication waits for the receipts of those before it: there may
	// be no leader, or it may be far behind.
	batchLimit = 20 * time.Millisecond
)

// publishBatcher sends publications together when there are many. A single message wakes
// each process on its way, which costs several times as much as a message among others. So
// while batchInFlight publications wait for their receipts, new ones are collected. They are
// sent together when most of those before have their receipts: in one write, and probably in one
// batch all the way to the sockets. With fewer publications none waits for another.
//
// With it a call of /sendPayload costs nats-server 28 to 29 µs of processor time at peak, without it
// 38 to 49 (docs/bench/results.md, 2026-11-26).
//
// Safe for concurrent use. Publications that are made one after the other are sent in
// that order; those at the same time have no order.
type publishBatcher struct {
	publish func(*nats.Msg) error // may wait for the network

	mu       sync.Mutex // guards all below, and the state of each publication; not held while publishing
	inFlight int
	waiting  []*pendingPublish
	timer    *time.Timer // sends those that wait; stopped while none does
}

// batchState is the state of a publication in its publishBatcher.
type batchState int

const (
	notInBatch batchState = iota // not added yet, or removed
	batchWaits
	batchSent
)

func newPublishBatcher(publish func(*nats.Msg) error) *publishBatcher {
	b := &publishBatcher{publish: publish}
	b.timer = time.AfterFunc(time.Hour, func() { b.flush(math.MaxInt) })
	b.timer.Stop()
	return b
}

// add publishes p, now or soon. An error of publishing becomes its result.
func (b *publishBatcher) add(p *pendingPublish) {
	b.mu.Lock()
	if b.inFlight >= batchInFlight {
		if b.waiting = append(b.waiting, p); len(b.waiting) == 1 {
			b.timer.Reset(batchLimit)
		}
		p.state = batchWaits
		b.mu.Unlock()
		return
	}
	b.inFlight++
	p.state = batchSent
	b.mu.Unlock()
	b.send(p)
}

// remove releases p and sends those that wait, when there is room for them.
func (b *publishBatcher) remove(p *pendingPublish) {
	b.release(p)
	b.flush(batchInFlight)
}

// release makes room for another publication. It publishes nothing, so it never waits.
func (b *publishBatcher) release(p *pendingPublish) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch p.state {
	case batchSent:
		b.inFlight--
	case batchWaits:
		b.waiting = slices.DeleteFunc(b.waiting, func(other *pendingPublish) bool { return other == p })
	}
	p.state = notInBatch
}

// flush sends the publications that wait, when less than limit are in flight.
func (b *publishBatcher) flush(limit int) {
	b.mu.Lock()
	if b.inFlight >= limit || len(b.waiting) == 0 {
		b.mu.Unlock()
		return
	}
	waiting := b.waiting
	b.waiting = make([]*pendingPublish, 0, len(waiting))
	b.inFlight += len(waiting)
	for _, p := range waiting {
		p.state = batchSent
	}
	b.timer.Stop()
	b.mu.Unlock()
	for _, p := range waiting {
		b.send(p)
	}
}

func (b *publishBatcher) send(p *pendingPublish) {
	if err := b.publish(p.Msg); err != nil {
		p.end(publishResult{err: err})
	}
}
