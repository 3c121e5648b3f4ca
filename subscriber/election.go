package subscriber

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

var (
	errLapsed = errors.New("lease not renewed in time")
	errTaken  = errors.New("another node has taken the lease")
)

// election chooses the node that leads. It is not a lock: a leader that was replaced may go on
// for a moment, and every later step of a message allows for that.
type election struct {
	self  leaseRecord // this process; its term is that of the last campaign won
	lease leaseBucket
	wake  <-chan struct{} // receives when the lease may be free; may be nil
	heard *atomic.Uint64  // the term of the last message of a leader
	// progress is the message up to which this node has dispatched, in its last term; zero: none. The
	// lease has it, for the next leader.
	progress   func() bridge.StoredMessage
	setLineage func(*lineage) // called with each new lineage of the lease
	lineage    atomic.Pointer[lineage]
	handed     atomic.Pointer[bridge.StoredMessage] // the message up to which leaders had dispatched when the lease was last read; nil before
	hasIndex   func() bool
	log        *slog.Logger
	listen     func() (end func(), err error) // answers that this process is alive
}

// leadFunc leads for one term, from the message after handed.
type leadFunc func(ctx context.Context, term uint64, handed bridge.StoredMessage)

// sighting is a revision of the lease and when it was first read.
type sighting struct {
	revision uint64
	since    time.Time // zero: the lease could not be read
}

// run campaigns until stop or ctx ends, and calls lead for each term won. The context of lead ends
// with the term; lead returns then, or when stop ends, or when it cannot lead. At the end the lease
// is released, so that another node can lead at once. resigned means that this node has released it.
func (e *election) run(ctx, stop context.Context, lead leadFunc) (resigned bool) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	var seen sighting
	for ctx.Err() == nil && stop.Err() == nil {
		if revision, won := e.campaign(ctx, &seen); won {
			free := e.hold(ctx, revision, lead)
			if stop.Err() != nil || ctx.Err() != nil {
				return free
			}
			seen = sighting{}
		}
		select {
		case <-tick.C:
		case <-e.wake:
		case <-stop.Done():
		case <-ctx.Done():
		}
	}
	return false
}

// campaign reads the lease, and acquires it when no node leads. It returns the revision
// that it has written.
func (e *election) campaign(ctx context.Context, seen *sighting) (revision uint64, won bool) {
	ctx, cancel := context.WithTimeoutCause(ctx, leaseCall, fmt.Errorf("campaign: %w", context.DeadlineExceeded))
	defer cancel()
	now, revision, err := e.lease.load(ctx)
	if err != nil {
		seen.since = time.Time{}
		return 0, false
	}
	e.learn(now.Lineage)
	e.handed.Store(&now.Handed)
	if revision != seen.revision || seen.since.IsZero() {
		*seen = sighting{revision, time.Now()}
	}
	if !e.vacant(ctx, now, time.Since(seen.since)) {
		return 0, false
	}
	e.self.Term, e.self.Handed = e.nextTerm(now.Term), now.Handed
	record := e.self
	record.Lineage = e.lineage.Load()
	revision, err = e.lease.save(ctx, record, revision)
	if err != nil {
		e.log.Debug("lease not taken", "err", err)
		return 0, false
	}
	return revision, true
}

// vacant reports whether no node leads. still is how long the lease has not changed.
func (e *election) vacant(ctx context.Context, now leaseRecord, still time.Duration) bool {
	switch {
	case now.Holder == "", now.Holder == e.self.Holder:
		return true
	case still < endedAfter+e.handicap():
		return false
	case still < stalledAfter+e.handicap():
		return e.lease.ended(ctx, now.Holder)
	}
	return true
}

// handicap lets candidates with an index be first.
func (e *election) handicap() time.Duration {
	if e.hasIndex() {
		return 0
	}
	return coldAfter
}

// nextTerm is a term greater than all known ones. It is not less than the clock, in
// microseconds, so that terms also grow when the bucket was deleted and every node
// has restarted. A term in another node's message that is far beyond the clock is ignored.
func (e *election) nextTerm(terms ...uint64) uint64 {
	clock := uint64(time.Now().UnixMicro())
	next := max(clock, e.self.Term+1)
	for _, t := range terms {
		next = max(next, t+1)
	}
	if heard := e.heard.Load(); heard < clock+maxClockAhead {
		next = max(next, heard+1)
	}
	return next
}

// maxClockAhead is how far the clock of another node may be ahead, in microseconds: one day.
const maxClockAhead = 24 * 60 * 60 * 1_000_000

// hold leads for one term, from the revision of the lease that campaign has written.
// It reports whether this node has released the lease at the end.
func (e *election) hold(ctx context.Context, revision uint64, lead leadFunc) (free bool) {
	term := e.self.Term
	end, err := e.listen()
	if err != nil {
		e.log.Debug("not listening as leader", "term", term, "err", err)
		return false
	}
	defer end()
	held, lose := context.WithCancelCause(ctx)
	var keeping sync.WaitGroup
	keeping.Go(func() { revision = e.renew(held, revision, lose) })
	e.log.Info("leader_elected", "term", term)
	lead(held, term, e.self.Handed)
	if held.Err() != nil {
		e.log.Warn("leader_lost", "term", term, "reason", context.Cause(held))
	}
	lose(nil)
	keeping.Wait()
	return revision != 0 && e.resign(ctx, revision)
}

// renew renews the lease until ctx ends or the lease is lost. It returns the last revision that
// this node has written, zero when another node has the lease.
func (e *election) renew(ctx context.Context, revision uint64, lose context.CancelCauseFunc) uint64 {
	lapse := time.AfterFunc(leaseHeld, func() { lose(errLapsed) })
	defer lapse.Stop()
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return revision
		}
		began := time.Now()
		next, err := e.renewOnce(ctx, revision)
		switch {
		case errors.Is(err, errTaken):
			lose(err)
			return 0
		case err != nil:
			e.log.Debug("lease not renewed", "term", e.self.Term, "err", err)
		default:
			revision = next
			lapse.Reset(leaseHeld - time.Since(began))
		}
	}
}

// renewOnce writes the lease. A different revision may still be this node's: an earlier write
// whose answer was lost.
func (e *election) renewOnce(ctx context.Context, revision uint64) (uint64, error) {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), leaseCall, fmt.Errorf("renew lease: %w", context.DeadlineExceeded))
	defer cancel()
	record := e.record()
	next, err := e.lease.save(ctx, record, revision)
	if !errors.Is(err, errStale) {
		return next, err
	}
	now, found, err := e.lease.load(ctx)
	if err != nil {
		return 0, err
	}
	if now.Holder != record.Holder || now.Term != record.Term {
		return 0, errTaken
	}
	return e.lease.save(ctx, record, found)
}

// record is what this node writes into the lease.
func (e *election) record() leaseRecord {
	r := e.self
	if now := e.progress(); now.Offset.After(r.Handed.Offset) {
		r.Handed = now
	}
	if r.Lineage = e.lineage.Load(); r.Lineage != nil {
		if begin := r.Lineage.begin(r.Lineage.Created); begin.After(r.Handed.Offset) {
			r.Handed = bridge.StoredMessage{Offset: begin}
		}
	}
	return r
}

// learn stores a lineage, unless a later one is known.
func (e *election) learn(l *lineage) {
	known := e.lineage.Load()
	if now := known.later(l); now != known {
		e.lineage.Store(now)
		e.setLineage(now)
	}
}

// adopt begins a new epoch in a stream that has messages of another stream.
func (e *election) adopt(created, epoch, seq uint64) {
	e.learn(e.lineage.Load().adopt(created, epoch, seq, time.Now()))
}

// branch begins a new epoch. The lease has it from its next revision on.
func (e *election) branch(created, seq uint64) {
	e.learn(e.lineage.Load().branch(created, seq, time.Now()))
}

// resign releases the lease of a revision, and reports whether it is free.
func (e *election) resign(ctx context.Context, revision uint64) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseCall)
	defer cancel()
	r := e.record()
	_, err := e.lease.save(ctx, leaseRecord{Term: r.Term, Handed: r.Handed, Lineage: r.Lineage}, revision)
	if err != nil {
		e.log.Debug("lease not given up", "err", err)
	}
	return err == nil
}
