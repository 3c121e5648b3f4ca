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

// Times of the lease. Nodes compare no clocks: each candidate measures by its own how long
// the revision has not changed.
const (
	// renewEvery is how often the leader renews the lease and a candidate looks at it.
	renewEvery = 100 * time.Millisecond
	// endedAfter is how long the revision must not have changed for a candidate to
	// replace a leader whose process has left NATS. A leader whose connection breaks
	// while it lives renews the lease over the next one first.
	endedAfter = 300 * time.Millisecond
	// stalledAfter is the same for a leader whose process is still connected: it hangs,
	// or the network to it is cut. It bounds how long a pause of a busy machine may be
	// before another node leads.
	stalledAfter = 1500 * time.Millisecond
	// leaseCall bounds one request for the lease.
	leaseCall = time.Second
	// leaseHeld is how long a leader goes on without being able to renew the lease. It
	// is longer than JetStream needs to elect a leader of the bucket: until then no
	// other node can write the lease either.
	leaseHeld = 5 * time.Second
	// coldAfter is added to endedAfter and stalledAfter by a candidate that would have to read
	// the stream's window first: one that has the index is earlier.
	coldAfter = 400 * time.Millisecond
)

// LeaderChange bounds how long no node reads the stream after a leader has hung. One that
// has ended is replaced in a fourth of that.
const LeaderChange = 2 * time.Second

var (
	errLapsed = errors.New("lease not renewed in time")
	errTaken  = errors.New("another node has taken the lease")
)

// election has one node lead at a time. It saves work and is no lock: the leader
// before may go on for a moment, and everything downstream bears that.
type election struct {
	self  leaseRecord // this process; its term is that of the last campaign won
	lease leaseBucket
	told  <-chan struct{} // receives when the lease may be free; may be nil
	heard *atomic.Uint64  // the greatest term that this node has heard of; may be nil
	// progress is up to where this node, in its last term, has handed messages on; zero when it
	// has not. It goes into the lease, for the next leader.
	progress func() bridge.StoredMessage
	// learned is told of the stream's epochs, as the lease has them; may be nil.
	learned func(*lineage)
	lineage atomic.Pointer[lineage]
	seen    atomic.Pointer[bridge.StoredMessage] // up to where leaders had handed messages on when the lease was last read; nil before
	warm    func() bool                          // whether this node has the index; nil: it has
	log     *slog.Logger
	listen  func() (end func(), err error) // answers for this process; may be nil
}

// leadFunc leads for one term, from behind what earlier leaders have handed on.
type leadFunc func(ctx context.Context, term uint64, handed bridge.StoredMessage)

// sighting is a revision of the lease and since when it has been seen.
type sighting struct {
	revision uint64
	since    time.Time // zero: the lease could not be read since
}

// run campaigns until stop or ctx ends, and calls lead for each term won, with how far the
// leaders before have come. The context given to lead ends when the term does; lead returns
// then, or when stop ends, or when it cannot lead. At the end the lease is given up, so that another
// node can lead at once; resigned says that it is free because this node has led.
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
		case <-e.told:
		case <-stop.Done():
		case <-ctx.Done():
		}
	}
	return false
}

// campaign looks at the lease, and takes it when no node leads. It returns the revision
// of the lease that it has written.
func (e *election) campaign(ctx context.Context, seen *sighting) (revision uint64, won bool) {
	ctx, cancel := context.WithTimeoutCause(ctx, leaseCall, fmt.Errorf("campaign: %w", context.DeadlineExceeded))
	defer cancel()
	now, revision, err := e.lease.load(ctx)
	if err != nil {
		seen.since = time.Time{}
		return 0, false
	}
	e.learn(now.Lineage)
	e.seen.Store(&now.Handed)
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

// vacant reports whether no node leads, judged by how long the lease has not changed.
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

// handicap lets candidates that have the index be first.
func (e *election) handicap() time.Duration {
	if e.warm == nil || e.warm() {
		return 0
	}
	return coldAfter
}

// nextTerm is a term greater than all that are known. It is not less than the clock, in
// microseconds, so that terms also grow when the bucket was deleted and every node
// has restarted. A term from another node's message that is far beyond the clock is no
// leader's.
func (e *election) nextTerm(terms ...uint64) uint64 {
	clock := uint64(time.Now().UnixMicro())
	next := max(clock, e.self.Term+1)
	for _, t := range terms {
		next = max(next, t+1)
	}
	if e.heard != nil {
		if heard := e.heard.Load(); heard < clock+maxClockAhead {
			next = max(next, heard+1)
		}
	}
	return next
}

// maxClockAhead is how far the clock of another node may be ahead, in microseconds.
const maxClockAhead = 24 * 60 * 60 * 1_000_000

// hold leads for one term, from the revision of the lease that the campaign has written.
// It reports whether the lease is free afterwards because this node gave it up.
func (e *election) hold(ctx context.Context, revision uint64, lead leadFunc) (free bool) {
	term := e.self.Term
	if e.listen != nil {
		end, err := e.listen()
		if err != nil {
			e.log.Debug("not listening as leader", "term", term, "err", err)
			return false
		}
		defer end()
	}
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

// renew renews the lease until ctx ends or the lease is lost. It returns the revision that
// this node has written last, zero when the lease is another's.
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

// renewOnce writes the lease again. When its revision is another than the one written
// last, it may be this node's all the same: an earlier write whose answer was lost.
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

// record is what this node writes into the lease now.
func (e *election) record() leaseRecord {
	r := e.self
	if e.progress != nil {
		if now := e.progress(); now.Offset.After(r.Handed.Offset) {
			r.Handed = now
		}
	}
	if r.Lineage = e.lineage.Load(); r.Lineage != nil {
		if begin := r.Lineage.begin(r.Lineage.Created); begin.After(r.Handed.Offset) {
			r.Handed = bridge.StoredMessage{Offset: begin}
		}
	}
	return r
}

// learn takes over a lineage, unless a later one is known.
func (e *election) learn(l *lineage) {
	known := e.lineage.Load()
	if now := known.later(l); now != known {
		e.lineage.Store(now)
		if e.learned != nil {
			e.learned(now)
		}
	}
}

// adopt begins a new epoch in a stream that has messages of another one.
func (e *election) adopt(created, epoch, seq uint64) {
	e.learn(e.lineage.Load().adopt(created, epoch, seq, time.Now()))
}

// branch begins a new epoch, which the lease has from its next change on.
func (e *election) branch(created, seq uint64) {
	e.learn(e.lineage.Load().branch(created, seq, time.Now()))
}

// resign gives the lease of that revision up, and reports whether it is free.
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
