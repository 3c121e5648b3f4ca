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
	// leaseCall bounds one request for the lease or to the store.
	leaseCall = time.Second
	// leaseHeld is how long a leader goes on without being able to renew the lease. It
	// is longer than JetStream needs to elect a leader of the bucket: until then no
	// other node can write the lease either.
	leaseHeld = 5 * time.Second
	// storeHeld is how long a leader goes on without the store. A node that reaches
	// the store may then lead.
	storeHeld = 3 * time.Second
	// confirmEvery is how often the leader asks the store for its term.
	confirmEvery = time.Second
)

// LeaderChange bounds how long no node reads the stream after a leader has hung. One that
// has ended is replaced in a fourth of that.
const LeaderChange = 2 * time.Second

var (
	errLapsed = errors.New("lease not renewed in time")
	errTaken  = errors.New("another node has taken the lease")
	errStore  = errors.New("store has not answered in time")
)

// Checkpoints is the part of [bridge.Leases] that an intake needs.
type Checkpoints interface {
	Checkpoint(ctx context.Context) (term uint64, o bridge.Offset, err error)
	Claim(ctx context.Context, term uint64) error
	SaveCheckpoint(ctx context.Context, term uint64, o bridge.Offset) error
}

// election has one node lead at a time. It saves work and is no lock: the leader
// before may go on for a moment, and everything downstream bears that.
type election struct {
	self   leaseRecord // this process; its term is that of the last campaign won
	lease  leaseBucket
	store  Checkpoints
	told   <-chan struct{} // receives when the lease may be free; may be nil
	heard  *atomic.Uint64  // the greatest term that this node has heard of; may be nil
	log    *slog.Logger
	listen func() (end func(), err error) // answers for this process; may be nil
}

// sighting is a revision of the lease and since when it has been seen.
type sighting struct {
	revision uint64
	since    time.Time // zero: the lease could not be read since
}

// run campaigns until stop or ctx ends, and calls lead for each term won. The
// context given to lead ends when the term does; lead returns then, or when stop
// ends. At the end the lease is given up, so that another node can lead at once;
// resigned says that it is free because this node has led.
func (e *election) run(ctx, stop context.Context, lead func(ctx context.Context, term uint64)) (resigned bool) {
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

// campaign looks at the lease, and takes it when nobody leads. It returns the revision
// of the lease that it has written.
func (e *election) campaign(ctx context.Context, seen *sighting) (revision uint64, won bool) {
	ctx, cancel := context.WithTimeoutCause(ctx, leaseCall, fmt.Errorf("campaign: %w", context.DeadlineExceeded))
	defer cancel()
	now, revision, err := e.lease.load(ctx)
	if err != nil {
		seen.since = time.Time{}
		return 0, false
	}
	if revision != seen.revision || seen.since.IsZero() {
		*seen = sighting{revision, time.Now()}
	}
	if !e.vacant(ctx, now, time.Since(seen.since)) {
		return 0, false
	}
	claimed, _, err := e.store.Checkpoint(ctx)
	if err != nil {
		return 0, false // a node that cannot route must not lead
	}
	e.self.Term = e.nextTerm(now.Term, claimed)
	revision, err = e.lease.save(ctx, e.self, revision)
	if err != nil {
		e.log.Debug("lease not taken", "err", err)
		return 0, false
	}
	return revision, true
}

// vacant reports whether nobody leads, judged by how long the lease has not changed.
func (e *election) vacant(ctx context.Context, now leaseRecord, still time.Duration) bool {
	switch {
	case now.Holder == "", now.Holder == e.self.Holder:
		return true
	case still < endedAfter:
		return false
	case still < stalledAfter:
		return e.lease.ended(ctx, now.Holder)
	}
	return true
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
func (e *election) hold(ctx context.Context, revision uint64, lead func(context.Context, uint64)) (free bool) {
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
	if err := e.claim(held, term); err != nil {
		lose(err)
		e.log.Debug("term not claimed", "term", term, "err", err)
	} else {
		keeping.Go(func() { e.confirm(held, term, lose) })
		e.log.Info("leader_elected", "term", term)
		lead(held, term)
		if held.Err() != nil {
			e.log.Warn("leader_lost", "term", term, "reason", context.Cause(held))
		}
		lose(nil)
	}
	keeping.Wait()
	return revision != 0 && e.resign(ctx, revision)
}

// claim has the store take checkpoints of this term only.
func (e *election) claim(ctx context.Context, term uint64) error {
	ctx, cancel := context.WithTimeoutCause(ctx, leaseCall, fmt.Errorf("claim term: %w", context.DeadlineExceeded))
	defer cancel()
	return e.store.Claim(ctx, term)
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
	next, err := e.lease.save(ctx, e.self, revision)
	if !errors.Is(err, errStale) {
		return next, err
	}
	now, found, err := e.lease.load(ctx)
	if err != nil {
		return 0, err
	}
	if now != e.self {
		return 0, errTaken
	}
	return e.lease.save(ctx, e.self, found)
}

// confirm asks the store for the term until ctx ends. A store that has lost the term has
// lost what was appended in it as well; one that does not answer may answer another node.
func (e *election) confirm(ctx context.Context, term uint64, lose context.CancelCauseFunc) {
	lapse := time.AfterFunc(storeHeld, func() { lose(errStore) })
	defer lapse.Stop()
	tick := time.NewTicker(confirmEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		began := time.Now()
		err := e.confirmOnce(ctx, term)
		switch {
		case errors.Is(err, bridge.ErrNotLeader):
			lose(fmt.Errorf("store does not know the term: %w", err))
			return
		case err == nil:
			lapse.Reset(storeHeld - time.Since(began))
		}
	}
}

// confirmOnce saves a checkpoint that changes nothing.
func (e *election) confirmOnce(ctx context.Context, term uint64) error {
	ctx, cancel := context.WithTimeoutCause(ctx, leaseCall, fmt.Errorf("confirm term: %w", context.DeadlineExceeded))
	defer cancel()
	return e.store.SaveCheckpoint(ctx, term, bridge.Offset{})
}

// resign gives the lease of that revision up, and reports whether it is free.
func (e *election) resign(ctx context.Context, revision uint64) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseCall)
	defer cancel()
	_, err := e.lease.save(ctx, leaseRecord{Term: e.self.Term}, revision)
	if err != nil {
		e.log.Debug("lease not given up", "err", err)
	}
	return err == nil
}
