package subscriber

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// leaseTable is a bucket in memory, which all nodes of a test share.
type leaseTable struct {
	mu       sync.Mutex // guards all below
	record   leaseRecord
	revision uint64
	gone     map[string]bool // processes that are not connected any more
}

// nodeLease is a node's access to the table.
type nodeLease struct {
	*leaseTable
	cut func() error // nil: the node reaches it
}

func (l *nodeLease) err() error {
	if l.cut == nil {
		return nil
	}
	return l.cut()
}

func (l *nodeLease) load(context.Context) (leaseRecord, uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.record, l.revision, l.err()
}

func (l *nodeLease) save(_ context.Context, r leaseRecord, revision uint64) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.err(); err != nil {
		return 0, err
	}
	if revision != l.revision {
		return 0, errStale
	}
	l.record, l.revision = r, l.revision+1
	return l.revision, nil
}

func (l *nodeLease) ended(_ context.Context, holder string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gone[holder]
}

func (l *leaseTable) set(r leaseRecord) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.record, l.revision = r, l.revision+1
}

func (l *leaseTable) holder() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.record.Holder
}

// leadership is one term as its leader saw it, by the bubble's clock.
type leadership struct {
	term       uint64
	began, end time.Duration
	cause      error
}

// elect runs an election in a bubble until stop ends, and returns its terms.
func elect(ctx, stop context.Context, e *election) (terms []leadership) {
	start := time.Now()
	e.log = discard
	e.run(ctx, stop, func(ctx context.Context, term uint64, _ bridge.StoredMessage) {
		l := leadership{term: term, began: time.Since(start)}
		select {
		case <-ctx.Done():
		case <-stop.Done():
		}
		l.end, l.cause = time.Since(start), context.Cause(ctx)
		terms = append(terms, l)
	})
	return terms
}

// candidate is an election of node a, whose process is called A.
func candidate(l *nodeLease) *election {
	return &election{
		self: leaseRecord{Node: "a", Holder: "A"}, lease: l, heard: new(atomic.Uint64),
		hasIndex: func() bool { return true }, progress: func() bridge.StoredMessage { return bridge.StoredMessage{} },
		setLineage: func(*lineage) {}, listen: func() (func(), error) { return func() {}, nil },
	}
}

// stopAfter is a context that ends then.
func stopAfter(t *testing.T, d time.Duration) context.Context {
	stop, cancel := context.WithCancel(t.Context())
	time.AfterFunc(d, cancel)
	return stop
}

// near reports whether a time is the wanted one or up to two looks at the lease later.
func near(got, want time.Duration) bool { return got >= want && got <= want+2*renewEvery }

// failing is an error from that time on, until later.
func failing(from, until time.Duration) func() error {
	start := time.Now()
	return func() error {
		if d := time.Since(start); d >= from && d < until {
			return errors.New("away")
		}
		return nil
	}
}

func TestLeaderThatCannotRenewLapses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := &leaseTable{}
		e := candidate(&nodeLease{table, failing(10*time.Second, 20*time.Second)})
		got := elect(t.Context(), stopAfter(t, 30*time.Second), e)
		if len(got) != 2 {
			t.Fatalf("terms %v, want two", got)
		}
		if !near(got[0].end, 10*time.Second+leaseHeld-renewEvery) || !errors.Is(got[0].cause, errLapsed) {
			t.Errorf("first term ended at %v with %v, want %v after the last renewal, lapsed", got[0].end, got[0].cause, leaseHeld)
		}
		if !near(got[1].began, 20*time.Second) || got[1].term <= got[0].term || got[1].cause != nil {
			t.Errorf("second term %+v, want from 20 s to the stop", got[1])
		}
		if table.holder() != "" {
			t.Errorf("the lease is held by %q after the stop", table.holder())
		}
	})
}

// JetStream elects a leader of the bucket in a few seconds, in which no node can write.
func TestLeaderOutlastsAShortOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := candidate(&nodeLease{&leaseTable{}, failing(5*time.Second, 9*time.Second)})
		if got := elect(t.Context(), stopAfter(t, 20*time.Second), e); len(got) != 1 {
			t.Errorf("terms %v, want one", got)
		}
	})
}

func TestCandidateReplacesALeaderThatEnded(t *testing.T) {
	for name, tt := range map[string]struct {
		gone bool
		want time.Duration
	}{"ended": {true, endedAfter}, "hung": {false, stalledAfter}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table := &leaseTable{record: leaseRecord{Term: 7, Node: "b", Holder: "B"}, revision: 1, gone: map[string]bool{"B": tt.gone}}
				got := elect(t.Context(), stopAfter(t, 10*time.Second), candidate(&nodeLease{table, nil}))
				if len(got) != 1 || !near(got[0].began, tt.want) {
					t.Errorf("terms %+v, want one that begins at %v", got, tt.want)
				}
			})
		})
	}
}

// A leader that renews is not replaced, also by a candidate that does not reach its
// process: part of the NATS cluster may be cut off.
func TestCandidateWaitsWhileTheLeaderRenews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := &leaseTable{gone: map[string]bool{"B": true}}
		stop := stopAfter(t, 20*time.Second)
		var renewing sync.WaitGroup
		defer renewing.Wait()
		renewing.Go(func() {
			for stop.Err() == nil {
				table.set(leaseRecord{Term: 7, Node: "b", Holder: "B"})
				time.Sleep(250 * time.Millisecond)
			}
		})
		table.set(leaseRecord{Term: 7, Node: "b", Holder: "B"})
		if got := elect(t.Context(), stop, candidate(&nodeLease{table, nil})); len(got) != 0 {
			t.Errorf("terms %+v, want none", got)
		}
	})
}

// Two nodes that share the bucket have one term, as long as its holder can renew in time: when they do
// not reach each other, so that each takes the other for ended, and when the bucket has no leader for
// some seconds, so that no node can write.
func TestNoChangeWithoutACause(t *testing.T) {
	for name, cut := range map[string]time.Duration{"nodes apart": 0, "bucket without a leader": 4 * time.Second, "longer": 6 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table := &leaseTable{gone: map[string]bool{"A": true, "B": true}}
				stop := stopAfter(t, 30*time.Second)
				var terms [2][]leadership
				var running sync.WaitGroup
				for i, self := range []leaseRecord{{Node: "a", Holder: "A"}, {Node: "b", Holder: "B"}} {
					running.Go(func() {
						time.Sleep(time.Duration(i) * 30 * time.Millisecond) // they never look at the same moment
						e := candidate(&nodeLease{table, failing(5*time.Second, 5*time.Second+cut)})
						e.self = self
						terms[i] = elect(t.Context(), stop, e)
					})
				}
				running.Wait()
				want := 1
				if cut > 5*time.Second { // no less, for JetStream elects a leader in up to that
					want = 2
				}
				if n := len(terms[0]) + len(terms[1]); n != want {
					t.Errorf("%d terms, want %d: %+v", n, want, terms)
				}
			})
		})
	}
}

// A candidate counts only the time in which it could see the lease: while it is cut off the
// revision stands still for it alone.
func TestCandidateThatWasCutOffLooksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := &leaseTable{record: leaseRecord{Term: 7, Node: "b", Holder: "B"}, revision: 1}
		e := candidate(&nodeLease{table, failing(time.Second, 10*time.Second)})
		got := elect(t.Context(), stopAfter(t, 20*time.Second), e)
		if len(got) != 1 || !near(got[0].began, 10*time.Second+stalledAfter) {
			t.Errorf("terms %+v, want one that begins %v after 10 s", got, stalledAfter)
		}
	})
}

func TestElectionStopsWhenAnotherLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := &leaseTable{}
		time.AfterFunc(2500*time.Millisecond, func() { table.set(leaseRecord{Term: 1 << 60, Node: "b", Holder: "B"}) })
		stop := stopAfter(t, 3500*time.Millisecond)
		got := elect(t.Context(), stop, candidate(&nodeLease{table, nil}))
		if len(got) != 1 || !near(got[0].end, 2500*time.Millisecond) || !errors.Is(got[0].cause, errTaken) {
			t.Errorf("terms %+v, want one that ends at 2.5 s because the lease was taken", got)
		}
		if table.holder() != "B" {
			t.Errorf("the lease is held by %q, want B: it is not a's to give up", table.holder())
		}
	})
}

// The answer to a renewal may be lost. The revision is then another than expected, and the
// lease is this node's all the same.
func TestRenewalWithoutAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := &leaseTable{}
		time.AfterFunc(2550*time.Millisecond, func() {
			table.mu.Lock()
			table.revision++
			table.mu.Unlock()
		})
		if got := elect(t.Context(), stopAfter(t, 5*time.Second), candidate(&nodeLease{table, nil})); len(got) != 1 {
			t.Errorf("terms %+v, want one", got)
		}
	})
}

// Terms never go back, whatever was lost.
func TestTermsGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const far = 1 << 52
		var heard atomic.Uint64
		heard.Store(uint64(time.Now().Add(time.Hour).UnixMicro()))
		for name, tt := range map[string]struct {
			table *leaseTable
			heard *atomic.Uint64
			after uint64
		}{
			"in the bucket": {&leaseTable{record: leaseRecord{Term: far}, revision: 1}, new(atomic.Uint64), far},
			"heard":         {&leaseTable{}, &heard, heard.Load()},
			"by the clock":  {&leaseTable{}, new(atomic.Uint64), uint64(time.Now().UnixMicro()) - 1},
		} {
			e := candidate(&nodeLease{tt.table, nil})
			e.heard = tt.heard
			got := elect(t.Context(), stopAfter(t, time.Second), e)
			if len(got) != 1 || got[0].term <= tt.after {
				t.Errorf("%s: terms %+v, want one after %d", name, got, tt.after)
			}
		}
	})
}

func TestElectionCampaignsWhenTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		table := &leaseTable{record: leaseRecord{Term: 7, Node: "b", Holder: "B"}, revision: 1}
		wake := make(chan struct{}, 1)
		e := candidate(&nodeLease{table, nil})
		e.wake, e.log = wake, discard
		time.AfterFunc(1230*time.Millisecond, func() {
			table.set(leaseRecord{Term: 7})
			wake <- struct{}{}
		})
		stop, cancel := context.WithCancel(t.Context())
		if !e.run(t.Context(), stop, func(context.Context, uint64, bridge.StoredMessage) {
			if at := time.Since(start); at != 1230*time.Millisecond {
				t.Errorf("leads after %v, want at the moment it was told", at)
			}
			cancel()
		}) {
			t.Error("a leader that was stopped says that it has not resigned")
		}
	})
}
