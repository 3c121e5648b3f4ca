package subscriber

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// Times of the intake lease. The store lets a lease lapse after four to five
// seconds without renewal; a leader that cannot renew stops before that.
const (
	campaignEvery = time.Second
	leaseCall     = time.Second     // limit of one call to the store
	leaseHeld     = 3 * time.Second // since the last renewal: then the lease counts as lost
)

var errLapsed = errors.New("lease not renewed in time")

// IntakeLeases is the part of [bridge.Leases] that an intake needs.
type IntakeLeases interface {
	Lead(ctx context.Context) (term uint64, err error)
	Resign(ctx context.Context) error
	Checkpoint(ctx context.Context) (bridge.Offset, error)
}

// election has one node lead at a time. It saves work and is no lock: the leader
// before may go on for a moment, and everything downstream bears that.
type election struct {
	leases IntakeLeases
	told   <-chan struct{} // receives when the lease may be free; may be nil
	log    *slog.Logger
}

// run campaigns until stop or ctx ends, and calls lead for each term won. The
// context given to lead ends when the term does; lead returns then, or when stop
// ends. At the end the lease is given up, so that another node can lead at once;
// resigned says that it is free because this node has led.
func (e *election) run(ctx, stop context.Context, lead func(ctx context.Context, term uint64)) (resigned bool) {
	led := e.campaign(ctx, stop, lead)
	return e.resign(ctx) && led
}

// campaign reports whether this node led until the end.
func (e *election) campaign(ctx, stop context.Context, lead func(ctx context.Context, term uint64)) (led bool) {
	tick := time.NewTicker(campaignEvery)
	defer tick.Stop()
	for {
		began := time.Now()
		term, err := e.ask(ctx)
		if err == nil {
			e.hold(ctx, term, began, lead)
		}
		if ctx.Err() != nil || stop.Err() != nil {
			return err == nil
		}
		if err == nil {
			continue // the store may have given us a new term
		}
		select {
		case <-tick.C:
		case <-e.told:
		case <-stop.Done():
			return false
		case <-ctx.Done():
			return false
		}
	}
}

func (e *election) ask(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, leaseCall, fmt.Errorf("ask for lease: %w", context.DeadlineExceeded))
	defer cancel()
	return e.leases.Lead(ctx)
}

// hold leads for one term. renewed is when it was asked for.
func (e *election) hold(ctx context.Context, term uint64, renewed time.Time, lead func(context.Context, uint64)) {
	ctx, lose := context.WithCancelCause(ctx)
	var renewing sync.WaitGroup
	renewing.Go(func() { e.renew(ctx, term, renewed, lose) })
	e.log.Info("leader_elected", "term", term)
	lead(ctx, term)
	if ctx.Err() != nil {
		e.log.Warn("leader_lost", "term", term, "reason", context.Cause(ctx))
	}
	lose(nil)
	renewing.Wait()
}

// renew renews the lease until ctx ends or the lease is lost.
func (e *election) renew(ctx context.Context, term uint64, renewed time.Time, lose context.CancelCauseFunc) {
	lapse := time.AfterFunc(leaseHeld-time.Since(renewed), func() { lose(errLapsed) })
	defer lapse.Stop()
	tick := time.NewTicker(campaignEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		began := time.Now()
		now, err := e.ask(ctx)
		switch {
		case errors.Is(err, bridge.ErrNotLeader):
			lose(err)
			return
		case err != nil:
			e.log.Debug("lease not renewed", "term", term, "err", err)
		case now != term:
			lose(fmt.Errorf("the store has begun term %d", now))
			return
		default:
			lapse.Reset(leaseHeld - time.Since(began))
		}
	}
}

// resign gives the lease up, and reports whether it is free; when not it lapses.
func (e *election) resign(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseCall)
	defer cancel()
	err := e.leases.Resign(ctx)
	if err != nil {
		e.log.Debug("lease not given up", "err", err)
	}
	return err == nil
}
