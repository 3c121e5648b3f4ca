package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const self, other = bridge.NodeID("self"), bridge.NodeID("other")

// world is a router between a memory store and recording routes.
type world struct {
	*bridge.Router
	terms       uint64       // routed so far
	store, away bridge.Store // this node's view and another node's
	failing     *failingStore

	mu       sync.Mutex
	pushed   []bridge.Offset
	forwards []bridge.Offset
	receipts map[string]bridge.Receipt
	dead     []string

	bury    func() error // nil: every dead letter is stored
	push    func(*bridge.Envelope) bridge.Count
	forward func([]*bridge.Envelope) ([]bridge.Count, error)
}

// failingStore fails the first appends, and those of more than so many messages.
type failingStore struct {
	bridge.Store
	failures int
	most     int // 0: any number will do
	refuses  map[bridge.UserID]bool
}

func (f *failingStore) Append(ctx context.Context, entries []bridge.Entry) ([]bridge.Appended, error) {
	if f.failures--; f.failures >= 0 {
		return nil, errors.New("away")
	}
	if f.most > 0 && len(entries) > f.most {
		return nil, errors.New("too slow")
	}
	for _, e := range entries {
		if f.refuses[e.User] {
			return nil, fmt.Errorf("%w: WRONGTYPE", bridge.ErrRefused)
		}
	}
	return f.Store.Append(ctx, entries)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	memory := store.NewMemory(store.Limits{})
	w := &world{receipts: make(map[string]bridge.Receipt)}
	w.store, w.away = memory.Node(self), memory.Node(other)
	w.failing = &failingStore{Store: w.store}
	for _, s := range []bridge.Store{w.store, w.away} {
		if _, err := s.Beat(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	took := func(*bridge.Envelope) bridge.Count { return bridge.Count{Took: 1} }
	w.push = took
	w.forward = func(batch []*bridge.Envelope) ([]bridge.Count, error) {
		counts := make([]bridge.Count, len(batch))
		for i := range counts {
			counts[i].Took = 1
		}
		return counts, nil
	}
	w.Router = bridge.NewRouter(self, w.failing, bridge.Routes{
		Push: func(e *bridge.Envelope) bridge.Count {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.pushed = append(w.pushed, e.Offset)
			return w.push(e)
		},
		Flush:      func() {},
		AckTimeout: time.Second,
		PushAcked: func(e *bridge.Envelope, done func(bridge.Count)) {
			if e.Offset.Seq%4 < 2 {
				done(bridge.Count{Took: 1, Acked: 1})
				return
			}
			go done(bridge.Count{Took: 1, Acked: 1})
		},
		Forward: func(_ uint64, _ bridge.NodeID, batch []*bridge.Envelope, done func([]bridge.Count, error)) {
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, e := range batch {
				w.forwards = append(w.forwards, e.Offset)
			}
			counts, err := w.forward(batch)
			go done(counts, err) // from another goroutine, as the network does
		},
		Beat: func(uint64, []bridge.NodeID) {},
		DeadLetter: func(_ context.Context, _ *bridge.Message, why *bridge.InvalidError) error {
			if w.bury != nil {
				if err := w.bury(); err != nil {
					return err
				}
			}
			w.dead = append(w.dead, why.Code)
			return nil
		},
		Receipt: func(subject string, r bridge.Receipt) {
			w.mu.Lock()
			defer w.mu.Unlock()
			r.At = time.Time{}
			w.receipts[subject] = r
		},
	}, slog.New(slog.DiscardHandler))
	return w
}

// register gives the user a socket on the node whose store it is.
func register(t *testing.T, s bridge.Store, user, socket string) bridge.Registration {
	t.Helper()
	r := bridge.Registration{User: bridge.UserID(user), Socket: bridge.SocketID(socket), Token: socket, Limit: 100}
	if _, err := s.Register(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	return r
}

func at(seq uint64) bridge.Offset { return bridge.Offset{Epoch: 7, Seq: seq} }

// message makes message seq for a user; every one asks for a receipt under its sequence.
func message(seq uint64, user string, header ...string) bridge.Message {
	m := bridge.Message{
		Offset: at(seq), Subject: "codewar.topic", Topic: "topic",
		Header: map[string][]string{bridge.HeaderReceipt: {fmt.Sprint(seq)}},
		Body:   fmt.Appendf(nil, `{"userId":%q,"n":%d}`, user, seq),
	}
	for i := 0; i+1 < len(header); i += 2 {
		m.Header[header[i]] = []string{header[i+1]}
	}
	return m
}

// term routes the batches in one term and waits until all is settled.
func (w *world) term(t *testing.T, batches ...[]bridge.Message) {
	t.Helper()
	w.terms++
	number := w.terms
	if err := w.store.Claim(t.Context(), number); err != nil {
		t.Fatal(err)
	}
	w.Begin(number)
	for _, b := range batches {
		if err := w.Route(t.Context(), number, b); err != nil {
			t.Error(err)
		}
	}
	w.End(number)
	if n := w.Ledger().Balance().InFlight(); n != 0 {
		t.Errorf("%d messages in flight after the term's end", n)
	}
}

func (w *world) outcomes() map[string]bridge.Outcome {
	out := make(map[string]bridge.Outcome)
	for subject, r := range w.receipts {
		out[subject] = r.Outcome
	}
	return out
}

func TestRouteOutcomes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	register(t, w.store, "here", "s1")
	register(t, w.away, "there", "s2")
	register(t, w.store, "both", "s3")
	register(t, w.away, "both", "s4")
	poison := message(6, "here")
	poison.Body = []byte(`{"userId":`)
	w.term(t, []bridge.Message{message(1, "here"), message(2, "there"), message(3, "both")},
		[]bridge.Message{message(4, "nobody"), message(5, "nobody", bridge.HeaderOffline, bridge.OfflineDrop), poison, message(7, "here", bridge.HeaderOffline, bridge.OfflineDrop)})

	want := map[string]bridge.Outcome{"1": bridge.Pushed, "2": bridge.Pushed, "3": bridge.Pushed, "4": bridge.Inboxed, "5": bridge.Offline, "6": bridge.Dead, "7": bridge.Pushed}
	if d := cmp.Diff(want, w.outcomes()); d != "" {
		t.Errorf("outcomes (-want +got):\n%s", d)
	}
	if got := w.receipts["3"].Sockets; got != 2 {
		t.Errorf("message 3 reached %d sockets, want 2", got)
	}
	if d := cmp.Diff([]bridge.Offset{at(1), at(3), at(7)}, w.pushed); d != "" {
		t.Errorf("pushed (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]bridge.Offset{at(2), at(3)}, w.forwards); d != "" {
		t.Errorf("forwarded (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{bridge.CodeInvalidJSON}, w.dead); d != "" {
		t.Errorf("dead letters (-want +got):\n%s", d)
	}
	kept, err := w.store.Read(t.Context(), "nobody", bridge.Offset{}, 10)
	if err != nil || len(kept.Entries) != 1 || kept.Entries[0].Offset != at(4) {
		t.Errorf("the history of nobody holds %v (%v), want only message 4", kept.Entries, err)
	}
	if _, saved, err := w.store.Checkpoint(t.Context()); err != nil || saved != at(7) {
		t.Errorf("checkpoint %v (%v), want %v", saved, err, at(7))
	}
}

// A leader that died between append and push is made good by the next: what the
// store refuses is pushed all the same.
func TestRouteAgainPushesAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	register(t, w.store, "u", "s")
	w.term(t, []bridge.Message{message(1, "u"), message(2, "u")})
	w.push = func(e *bridge.Envelope) bridge.Count {
		if e.Offset == at(1) {
			return bridge.Count{Seen: 1}
		}
		return bridge.Count{Took: 1}
	}
	w.pushed = nil
	w.term(t, []bridge.Message{message(1, "u"), message(2, "u")})
	if d := cmp.Diff([]bridge.Offset{at(1), at(2)}, w.pushed); d != "" {
		t.Errorf("pushed the second time (-want +got):\n%s", d)
	}
	if d := cmp.Diff(map[string]bridge.Outcome{"1": bridge.Duplicate, "2": bridge.Pushed}, w.outcomes()); d != "" {
		t.Errorf("outcomes (-want +got):\n%s", d)
	}
	page, err := w.store.Read(t.Context(), "u", bridge.Offset{}, 10)
	if err != nil || len(page.Entries) != 2 {
		t.Errorf("history holds %d entries (%v), want 2", len(page.Entries), err)
	}
}

// Pages confirm at once, later, or not at all because they have left: each message
// is settled once, whichever goroutine its last answer comes from.
func TestRouteConfirmed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	register(t, w.store, "here", "s1")
	register(t, w.store, "both", "s2")
	register(t, w.away, "both", "s3")
	var batch []bridge.Message
	for seq := uint64(1); seq <= 40; seq++ {
		batch = append(batch, message(seq, []string{"here", "both"}[seq%2], bridge.HeaderAck, bridge.AckClient))
	}
	w.term(t, batch)
	if err := w.Ledger().Balance().Err(); err != nil {
		t.Error(err)
	}
	for seq := 1; seq <= 40; seq++ {
		r := w.receipts[fmt.Sprint(seq)]
		if r.Outcome != bridge.Pushed || r.Acks == nil || *r.Acks != 1 || r.Sockets != 1+seq%2 {
			t.Fatalf("receipt of %d: %+v", seq, r)
		}
	}
}

func TestRouteHoldsWhileTheStoreIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.failing.failures = 3
	register(t, w.store, "u", "s")
	w.term(t, []bridge.Message{message(1, "u")}, []bridge.Message{message(2, "u")})
	if d := cmp.Diff([]bridge.Offset{at(1), at(2)}, w.pushed); d != "" {
		t.Errorf("pushed (-want +got):\n%s", d)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w.failing.failures = 1
	w.Begin(1)
	if err := w.Route(ctx, 1, []bridge.Message{message(3, "u")}); err == nil {
		t.Error("routed although its context has ended")
	}
	w.End(1)
	if n := w.Ledger().Balance().Received; n != 2 {
		t.Errorf("%d messages received, want 2: the third was left to the next leader", n)
	}
}

// A batch that the store does not manage within its time goes through in pieces.
func TestRouteSlowStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.failing.most = 1000
	register(t, w.store, "u", "s")
	var batch []bridge.Message
	var want []bridge.Offset
	for seq := range uint64(3000) {
		batch = append(batch, message(seq+1, "u"))
		want = append(want, at(seq+1))
	}
	w.term(t, batch)
	if diff := cmp.Diff(want, w.pushed); diff != "" {
		t.Errorf("pushed (-want +got):\n%.1000s", diff)
	}
}

// All sockets of a user leave between the look-up and the push.
func TestRouteToSocketsThatLeft(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		header  []string
		answer  error
		newer   bool // another socket registers meanwhile
		outcome bridge.Outcome
		kept    int
	}{
		{name: "kept for later", outcome: bridge.Inboxed, kept: 1},
		{name: "withdrawn", header: []string{bridge.HeaderOffline, bridge.OfflineDrop}, outcome: bridge.Offline},
		{name: "withdrawn when the node is gone", header: []string{bridge.HeaderOffline, bridge.OfflineDrop}, answer: bridge.ErrNodeGone, outcome: bridge.Offline},
		{name: "unknown when the node is silent", header: []string{bridge.HeaderOffline, bridge.OfflineDrop}, answer: errors.New("no answer"), outcome: bridge.Inboxed, kept: 1},
		{name: "read by a socket that came", header: []string{bridge.HeaderOffline, bridge.OfflineDrop}, newer: true, outcome: bridge.Pushed, kept: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			register(t, w.away, "u", "s")
			w.forward = func(batch []*bridge.Envelope) ([]bridge.Count, error) {
				if tt.newer {
					register(t, w.store, "u", "s2")
				}
				if tt.answer != nil {
					return nil, tt.answer
				}
				return make([]bridge.Count, len(batch)), nil
			}
			w.term(t, []bridge.Message{message(1, "u", tt.header...)})
			if got := w.receipts["1"].Outcome; got != tt.outcome {
				t.Errorf("outcome %s, want %s", got, tt.outcome)
			}
			page, err := w.store.Read(t.Context(), "u", bridge.Offset{}, 10)
			if err != nil || len(page.Entries) != tt.kept {
				t.Errorf("history holds %d entries (%v), want %d", len(page.Entries), err, tt.kept)
			}
		})
	}
}

// TestRetryConfirmsTerm: after a failure the store may be another than before, so
// a leader that is none any more must not append to it.
func TestRetryConfirmsTerm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const term = 1
	if err := w.store.Claim(t.Context(), term); err != nil {
		t.Fatal(err)
	}
	w.Begin(term)
	defer w.End(term)
	if err := w.away.Claim(t.Context(), term+1); err != nil {
		t.Fatal(err)
	}
	w.failing.failures = 1
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := w.Route(ctx, term, []bridge.Message{message(1, "u")}); err == nil {
		t.Error("routed")
	}
	if page, err := w.store.Read(t.Context(), "u", bridge.Offset{}, 10); err != nil || len(page.Entries) > 0 {
		t.Errorf("history has %d entries, %v", len(page.Entries), err)
	}
}
