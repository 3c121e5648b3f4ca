package subscriber

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// reign is one term as its leader saw it, by the bubble's clock.
type reign struct {
	term       uint64
	began, end time.Duration
	cause      error
}

// elect runs an election in a bubble until stop ends, and returns its terms.
func elect(ctx, stop context.Context, l IntakeLeases) (reigns []reign) {
	start := time.Now()
	e := election{leases: l, log: discard}
	e.run(ctx, stop, func(ctx context.Context, term uint64) {
		r := reign{term: term, began: time.Since(start)}
		select {
		case <-ctx.Done():
		case <-stop.Done():
		}
		r.end, r.cause = time.Since(start), context.Cause(ctx)
		reigns = append(reigns, r)
	})
	return reigns
}

func TestElectionGivesUpWhenItCannotRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &leases{ttl: 4 * time.Second}
		down := false
		s := &seat{leases: l, node: "a", cut: func() error {
			if down {
				return errors.New("store is down")
			}
			return nil
		}}
		stop, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10500*time.Millisecond, func() { l.mu.Lock(); down = true; l.mu.Unlock() })
		time.AfterFunc(20500*time.Millisecond, func() { l.mu.Lock(); down = false; l.mu.Unlock() })
		time.AfterFunc(30*time.Second, cancel)
		got := elect(t.Context(), stop, s)
		if len(got) != 2 {
			t.Fatalf("terms %v, want two", got)
		}
		if got[0].end != 13*time.Second || !errors.Is(got[0].cause, errLapsed) {
			t.Errorf("first term ended at %v with %v, want three seconds after the renewal at 10 s, lapsed", got[0].end, got[0].cause)
		}
		if got[1].began != 21*time.Second || got[1].end != 30*time.Second || got[1].cause != nil {
			t.Errorf("second term %+v, want from 21 s to the stop at 30 s", got[1])
		}
		if l.holder != "" {
			t.Errorf("the lease is held by %q after the stop", l.holder)
		}
	})
}

func TestElectionStopsForANewTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &leases{ttl: 4 * time.Second}
		stop, cancel := context.WithCancel(t.Context())
		time.AfterFunc(2500*time.Millisecond, func() { l.mu.Lock(); l.holder = ""; l.mu.Unlock() }) // the store came back empty
		time.AfterFunc(10*time.Second, cancel)
		got := elect(t.Context(), stop, &seat{leases: l, node: "a"})
		if len(got) != 2 || got[0].end != 3*time.Second || got[1].began != 3*time.Second || got[1].term != 2 {
			t.Errorf("terms %+v, want the second at once after the first, at 3 s", got)
		}
	})
}

func TestElectionStopsWhenAnotherLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &leases{ttl: 4 * time.Second}
		stop, cancel := context.WithCancel(t.Context())
		time.AfterFunc(2500*time.Millisecond, func() {
			l.mu.Lock()
			l.holder, l.until = "b", time.Now().Add(time.Hour)
			l.mu.Unlock()
		})
		time.AfterFunc(10*time.Second, cancel)
		got := elect(t.Context(), stop, &seat{leases: l, node: "a"})
		if len(got) != 1 || got[0].end != 3*time.Second || !errors.Is(got[0].cause, bridge.ErrNotLeader) {
			t.Errorf("terms %+v, want one that ends at 3 s because another leads", got)
		}
	})
}

// hung is a store that does not answer before its caller gives up.
type hung struct{ *seat }

func (h hung) Lead(ctx context.Context) (uint64, error) {
	if h.cut() != nil {
		<-ctx.Done()
		return 0, context.Cause(ctx)
	}
	return h.seat.Lead(ctx)
}

func TestElectionGivesUpWhenTheStoreHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		l := &leases{ttl: 4 * time.Second}
		s := hung{&seat{leases: l, node: "a", cut: func() error {
			if time.Since(start) > 5500*time.Millisecond {
				return errors.New("hangs")
			}
			return nil
		}}}
		stop, cancel := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Second, cancel)
		got := elect(t.Context(), stop, s)
		if len(got) != 1 || got[0].end != 8*time.Second {
			t.Errorf("terms %+v, want one that ends three seconds after the renewal at 5 s", got)
		}
	})
}
