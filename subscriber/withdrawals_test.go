package subscriber

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/subscriber/natstest"
)

// withdraw withdraws messages of a term, and returns the errors in the order of the messages.
func withdraw(w *withdrawals, term uint64, seqs ...uint64) []error {
	errs := make([]error, len(seqs))
	var wg sync.WaitGroup
	wg.Add(len(seqs))
	for i, seq := range seqs {
		w.withdraw(term, bridge.Offset{Epoch: 1, Seq: seq}, func(err error) {
			errs[i] = err
			wg.Done()
		})
	}
	wg.Wait()
	return errs
}

// writer makes the withdrawals of a node that has indexed 10,000 messages of one user.
func writer(t *testing.T, s *natstest.Instance, node bridge.NodeID) *withdrawals {
	t.Helper()
	index := bridge.NewIndex(bridge.IndexConfig{TTL: time.Hour, MaxPerUser: 10_000, MaxMemory: 1 << 26})
	index.Begin(bridge.Offset{Epoch: 1})
	for seq := range uint64(10_000) {
		index.Append([]*bridge.Envelope{{User: "u", Topic: "t", Offset: bridge.Offset{Epoch: 1, Seq: seq + 1}, Stored: time.Now()}})
	}
	return newWithdrawals(ready(t, s, node), index, time.Hour, discard)
}

// begin begins a term, and returns which messages the index then has in no log.
func begin(t *testing.T, w *withdrawals, term uint64) (seqs []uint64) {
	t.Helper()
	if err := w.begin(t.Context(), term); err != nil {
		t.Fatalf("begin term %d: %v", term, err)
	}
	if err := w.apply(t.Context()); err != nil {
		t.Fatalf("apply what was withdrawn before term %d: %v", term, err)
	}
	return missing(w)
}

// missing are the messages that the index of a writer has in no log.
func missing(w *withdrawals) (seqs []uint64) {
	next := uint64(1)
	for _, e := range w.index.Read(bridge.HistoryQuery{User: "u", Limit: 10_000, Peek: true}).Entries {
		for ; next < e.Offset.Seq; next++ {
			seqs = append(seqs, next)
		}
		next++
	}
	return seqs
}

// A sender is told "offline" only when every later leader knows that. So a leader that was
// replaced, and does not know it, cannot withdraw any more.
func TestWithdrawalsHaveOneWriter(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	a, b := writer(t, s, "a"), writer(t, s, "b")
	if got := withdraw(a, 1, 1); !errors.Is(got[0], errNotLeading) {
		t.Errorf("withdrawn before the term: %v", got)
	}
	if got := begin(t, a, 1); got != nil {
		t.Errorf("a new record has %v", got)
	}
	if err := errors.Join(withdraw(a, 1, 5, 6, 7)...); err != nil {
		t.Fatal(err)
	}
	if got := begin(t, b, 2); !slices.Equal(got, []uint64{5, 6, 7}) {
		t.Errorf("the next leader knows of %v", got)
	}
	for range 2 { // the second time a looks the newest record up
		if got := withdraw(a, 1, 8); got[0] == nil {
			t.Error("a leader that was replaced has withdrawn a message")
		}
	}
	if err := errors.Join(withdraw(b, 2, 9)...); err != nil {
		t.Errorf("the new leader cannot withdraw after the old one has tried: %v", err)
	}
	if err := a.begin(t.Context(), 1); !errors.Is(err, bridge.ErrNotLeader) {
		t.Errorf("an older term begins: %v", err)
	}
	if heard := a.client.heardTerm.Load(); heard < 2 {
		t.Errorf("a has heard of term %d, want 2: its next one must exceed it", heard)
	}
	if err := a.begin(t.Context(), 3); err != nil { // this term ends before a message is routed in it
		t.Fatal(err)
	}
	if got := begin(t, a, 4); !slices.Contains(got, 9) {
		t.Errorf("a knows of %v, want what was withdrawn since", got)
	}
}

// A standby reads the records while the leader writes them, so that a takeover does not have to.
// The first time there are more of them than are read one by one.
func TestStandbyReadsWithdrawals(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	a, b := writer(t, s, "a"), writer(t, s, "b")
	begin(t, a, 1)
	const n = 3 * readBatch
	for seq := range uint64(n) { // a record each
		if err := errors.Join(withdraw(a, 1, 2*seq+1)...); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	var following sync.WaitGroup
	following.Go(func() { b.follow(ctx, func() bool { return true }) })
	upTo := func(last uint64) func() bool {
		return func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.read == last
		}
	}
	waitFor(t, "the standby has read all records", upTo(n+1))
	if got := missing(b); len(got) != n || got[n-1] != 2*n-1 {
		t.Errorf("the standby knows %d withdrawals up to %d, want %d up to %d", len(got), got[len(got)-1], n, 2*n-1)
	}
	if err := errors.Join(withdraw(a, 1, 9000)...); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the standby has read the record that came since", upTo(n+2))
	stop()
	following.Wait()
	if got := missing(b); got[len(got)-1] != 9000 {
		t.Errorf("the standby knows withdrawals up to %d, want 9000", got[len(got)-1])
	}
}

// A record whose answer was lost is found by the next one.
func TestWithdrawalsWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	w := writer(t, s, "a")
	begin(t, w, 1)
	if _, err := w.put(t.Context(), 1, []withdrawal{{offset: bridge.Offset{Epoch: 1, Seq: 5}}}, w.last); err != nil {
		t.Fatal(err)
	}
	if got := withdraw(w, 1, 6); got[0] == nil {
		t.Error("a record is not the one behind the last, and is written")
	}
	if err := errors.Join(withdraw(w, 1, 7)...); err != nil {
		t.Fatal(err)
	}
	if got := missing(w); !slices.Equal(got, []uint64{5}) { // the caller removes 7
		t.Errorf("the index knows of %v, want 5", got)
	}
}

// An index that begins anew is told of all withdrawals again.
func TestWithdrawalsOfAnIndexThatBeginsAnew(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	w := writer(t, s, "a")
	begin(t, w, 1)
	if err := errors.Join(withdraw(w, 1, 5)...); err != nil {
		t.Fatal(err)
	}
	w.index = bridge.NewIndex(bridge.IndexConfig{TTL: time.Hour, MaxPerUser: 10, MaxMemory: 1 << 20})
	read := readSession{intake: &Intake{index: w.index, withdrawals: w}}
	read.beginIndex(bridge.Offset{Epoch: 1}, streamState{created: 1, epoch: 1})
	begin(t, w, 2)
	message := &bridge.Envelope{User: "u", Topic: "t", Offset: bridge.Offset{Epoch: 1, Seq: 5}, Stored: time.Now()}
	if found := w.index.Append([]*bridge.Envelope{message}); !found[0].Withdrawn {
		t.Error("a message that was withdrawn before enters its log")
	}
}

// Records go on after an outage, and what was withdrawn before it is known to the next leader.
func TestWithdrawalsAfterAnOutage(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	w := writer(t, s, "a")
	begin(t, w, 1)
	if err := errors.Join(withdraw(w, 1, 1)...); err != nil {
		t.Fatal(err)
	}
	s.Shutdown()
	if got := withdraw(w, 1, 2); got[0] == nil {
		t.Error("withdrawn without NATS")
	}
	s.Start()
	waitFor(t, "withdrawals work again", func() bool { return withdraw(w, 1, 3)[0] == nil })
	got := begin(t, writer(t, s, "b"), 2)
	if !slices.Contains(got, 1) || !slices.Contains(got, 3) {
		t.Errorf("the next leader knows of %v, want 1 and 3", got)
	}
}

// While a record is on its way the next ones gather.
func TestWithdrawalsShareRecords(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	w := writer(t, s, "a")
	begin(t, w, 1)
	seqs := make([]uint64, 2*withdrawalBatch)
	for i := range seqs {
		seqs[i] = uint64(i + 1)
	}
	if err := errors.Join(withdraw(w, 1, seqs...)...); err != nil {
		t.Fatal(err)
	}
	if w.last > 100 {
		t.Errorf("%d withdrawals took %d records", len(seqs), w.last)
	}
	if got := begin(t, writer(t, s, "b"), 2); !slices.Equal(got, seqs) {
		t.Errorf("the next leader knows of %d, want %d in order", len(got), len(seqs))
	}
}

func FuzzWithdrawals(f *testing.F) {
	f.Add(encodeWithdrawals(7, []withdrawal{{offset: bridge.Offset{Epoch: 3, Seq: 4}}}))
	f.Add([]byte{1, 255, 255, 255, 255, 15})
	f.Fuzz(func(t *testing.T, data []byte) {
		term, offsets, err := decodeWithdrawals(data)
		if err != nil {
			return
		}
		some := make([]withdrawal, len(offsets))
		for i, o := range offsets {
			some[i].offset = o
		}
		again, back, err := decodeWithdrawals(encodeWithdrawals(term, some))
		if err != nil || again != term || !slices.Equal(back, offsets) {
			t.Errorf("%d %v is read back as %d %v, %v", term, offsets, again, back, err)
		}
	})
}

// A standby of a running intake follows the withdrawals of the leader.
func TestStandbyFollowsWithdrawals(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	_, leader, _ := lead(t, s, "a")
	standby, _ := run(t, ready(t, s, "b"), (&taker{}).handler())
	waitFor(t, "the standby has read the stream", standby.current.Load)
	leader.withdrawals.mu.Lock()
	term := leader.withdrawals.term
	leader.withdrawals.mu.Unlock()
	done := make(chan error, 1)
	leader.withdrawals.withdraw(term, bridge.Offset{Epoch: 1, Seq: 1}, func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	leader.withdrawals.mu.Lock()
	last := leader.withdrawals.last
	leader.withdrawals.mu.Unlock()
	waitFor(t, "the standby has read the record", func() bool {
		standby.withdrawals.mu.Lock()
		defer standby.withdrawals.mu.Unlock()
		return standby.withdrawals.read == last
	})
}
