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
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const self, other = bridge.NodeID("self"), bridge.NodeID("other")

// world is a router between a memory store and recording routes.
type world struct {
	*bridge.Router
	index       *bridge.Index
	metrics     *prometheus.Registry
	terms       uint64       // routed so far
	store, away bridge.Store // this node's view and another node's
	failing     *failingStore

	mu       sync.Mutex
	pushed   []bridge.Offset
	forwards []bridge.Offset
	receipts map[string]bridge.Receipt
	dead     []string

	unregistered []bridge.NodeID

	withdraw   func() error // nil: every withdrawal is recorded
	deadLetter func() error // nil: every dead letter is stored
	push       func(*bridge.Envelope) bridge.Count
	forward    func([]*bridge.Envelope) ([]bridge.Count, error)
}

// failingStore does not answer the first look-ups, and never those of some users.
type failingStore struct {
	bridge.Store
	failures int
	never    map[bridge.UserID]bool
}

var errAway = errors.New("away")

func (f *failingStore) Locate(ctx context.Context, users []bridge.UserID) []bridge.Located {
	found := f.Store.Locate(ctx, users)
	f.failures--
	for i, user := range users {
		if f.failures >= 0 || f.never[user] {
			found[i] = bridge.Located{Err: errAway}
		}
	}
	return found
}

func newWorld(t *testing.T) *world {
	t.Helper()
	memory := store.NewMemory(store.Limits{})
	w := &world{metrics: prometheus.NewRegistry(), receipts: make(map[string]bridge.Receipt)}
	w.index = bridge.NewIndex(bridge.IndexConfig{TTL: time.Hour, MaxPerUser: 10_000, MaxMemory: 64 << 20})
	w.index.Begin(at(0))
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
	w.Router = bridge.NewRouter(bridge.RouterConfig{Node: self, AckTimeout: time.Second, Metrics: w.metrics}, w.failing, w.index, w, w, w, slog.New(slog.DiscardHandler))
	return w
}

func (w *world) Push(e *bridge.Envelope) bridge.Count {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pushed = append(w.pushed, e.Offset)
	return w.push(e)
}

func (w *world) Flush() {}

func (w *world) PushAcked(e *bridge.Envelope, done func(bridge.Count)) {
	if e.Offset.Seq%4 < 2 {
		done(bridge.Count{Took: 1, Acked: 1})
		return
	}
	go done(bridge.Count{Took: 1, Acked: 1})
}

func (w *world) Forward(_ uint64, _ bridge.NodeID, batch []*bridge.Envelope, done func([]bridge.Count, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range batch {
		w.forwards = append(w.forwards, e.Offset)
	}
	counts, err := w.forward(batch)
	go done(counts, err) // from another goroutine, as the network does
}

func (w *world) Beat(uint64, uint64) {}

func (w *world) Nodes() []bridge.NodeID { return []bridge.NodeID{other, self} }

func (w *world) Unregistered() []bridge.NodeID { return w.unregistered }

func (w *world) Withdraw(_ uint64, _ bridge.Offset, done func(error)) {
	var err error
	if w.withdraw != nil {
		err = w.withdraw()
	}
	go done(err)
}

func (w *world) StoreDeadLetter(_ context.Context, _ *bridge.Message, why *bridge.InvalidError) error {
	if w.deadLetter != nil {
		if err := w.deadLetter(); err != nil {
			return err
		}
	}
	w.dead = append(w.dead, why.Code)
	return nil
}

func (w *world) SendReceipt(subject string, r bridge.Receipt) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r.At = time.Time{}
	w.receipts[subject] = r
}

// register gives the user a socket on the node whose store it is.
func register(t *testing.T, s bridge.Store, user, socket string) bridge.Registration {
	t.Helper()
	r := bridge.Registration{User: bridge.UserID(user), Socket: bridge.SocketID(socket), Token: socket}
	if _, err := s.Register(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	return r
}

func at(seq uint64) bridge.Offset { return bridge.Offset{Epoch: 7, Seq: seq} }

// history reads a user's log as a socket does.
func (w *world) history(user bridge.UserID) (seqs []uint64) {
	for _, e := range w.index.Read(bridge.HistoryQuery{User: user, Limit: 10_000}).Entries {
		seqs = append(seqs, e.Offset.Seq)
	}
	return seqs
}

// message makes message seq for a user; every one asks for a receipt under its sequence.
func message(seq uint64, user string, header ...string) bridge.Message {
	m := bridge.Message{
		Offset: at(seq), Subject: "codewar.topic", Topic: "topic", Stored: time.Now(),
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
	if d := cmp.Diff([]uint64{4}, w.history("nobody")); d != "" {
		t.Errorf("the history of nobody (-want +got):\n%s", d)
	}
	if got := w.Progress(); got != at(7) {
		t.Errorf("handed on up to %v, want %v", got, at(7))
	}
	if got := w.index.Horizon(); got != at(7) {
		t.Errorf("indexed up to %v, want %v", got, at(7))
	}
}

// A leader that died before it pushed is made good by the next: what is in the index already is
// pushed all the same.
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
	if d := cmp.Diff([]uint64{1, 2}, w.history("u")); d != "" {
		t.Errorf("history (-want +got):\n%s", d)
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

// A message whose user cannot be looked up goes to all nodes, each of which knows its own sockets.
// It is never held back: a later one of the user would overtake it, and sockets would drop it.
func TestRouteWithoutTheStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.failing.never = map[bridge.UserID]bool{"u": true}
	register(t, w.away, "v", "s")
	drop := []string{bridge.HeaderOffline, bridge.OfflineDrop}
	w.push = func(*bridge.Envelope) bridge.Count { return bridge.Count{} }
	w.forward = func(batch []*bridge.Envelope) ([]bridge.Count, error) {
		counts := make([]bridge.Count, len(batch))
		for i, e := range batch {
			if e.Offset.Seq < 3 {
				counts[i].Took = 1
			}
		}
		return counts, nil
	}
	w.term(t, []bridge.Message{message(1, "u"), message(2, "u", drop...), message(3, "u"), message(4, "u", drop...), message(5, "v")})
	want := map[string]bridge.Outcome{"1": bridge.Pushed, "2": bridge.Pushed, "3": bridge.Inboxed, "4": bridge.Inboxed, "5": bridge.Inboxed}
	if d := cmp.Diff(want, w.outcomes()); d != "" {
		t.Errorf("outcomes (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]bridge.Offset{at(1), at(2), at(3), at(4)}, w.pushed); d != "" {
		t.Errorf("pushed (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]bridge.Offset{at(1), at(2), at(3), at(4), at(5)}, w.forwards); d != "" {
		t.Errorf("forwarded (-want +got):\n%s", d)
	}
	if !w.receipts["4"].Unsure || w.receipts["3"].Unsure || w.receipts["2"].Unsure {
		t.Error("only of the fourth, which was not to be kept, it is not known what became of it")
	}
}

// A term that has ended leaves its messages to the next leader.
func TestRouteAfterItsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w.Begin(1)
	if err := w.Route(ctx, 1, []bridge.Message{message(3, "u")}); err == nil {
		t.Error("routed although its context has ended")
	}
	w.End(1)
	if n := w.Ledger().Balance().Received; n != 0 || !w.Progress().IsZero() {
		t.Errorf("%d messages received, handed on up to %v", n, w.Progress())
	}
}

// All sockets of a user leave between the look-up and the push.
func TestRouteToSocketsThatLeft(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		header  []string
		answer  error
		newer   bool // another socket comes and reads its history meanwhile
		lost    bool // the withdrawal cannot be recorded
		outcome bridge.Outcome
		unsure  bool
		kept    int
	}{
		{name: "kept for later", outcome: bridge.Inboxed, kept: 1},
		{name: "withdrawn", header: []string{bridge.HeaderOffline, bridge.OfflineDrop}, outcome: bridge.Offline},
		{name: "withdrawn when the node is gone", header: []string{bridge.HeaderOffline, bridge.OfflineDrop}, answer: bridge.ErrNodeGone, outcome: bridge.Offline},
		{name: "unknown when the node is silent", header: []string{bridge.HeaderOffline, bridge.OfflineDrop}, answer: errors.New("no answer"), outcome: bridge.Inboxed, unsure: true, kept: 1},
		{name: "unknown when it is not recorded", header: []string{bridge.HeaderOffline, bridge.OfflineDrop}, lost: true, outcome: bridge.Inboxed, unsure: true, kept: 1},
		{name: "read by a socket that came", header: []string{bridge.HeaderOffline, bridge.OfflineDrop}, newer: true, outcome: bridge.Pushed, kept: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			register(t, w.away, "u", "s")
			w.forward = func(batch []*bridge.Envelope) ([]bridge.Count, error) {
				if tt.newer {
					register(t, w.store, "u", "s2")
					w.history("u")
				}
				if tt.answer != nil {
					return nil, tt.answer
				}
				return make([]bridge.Count, len(batch)), nil
			}
			w.withdraw = func() error {
				if r := w.index.Read(bridge.HistoryQuery{User: "u", Limit: 10}); !r.Undecided || len(r.Entries) > 0 {
					t.Errorf("while the withdrawal is recorded a socket is answered %+v", r)
				}
				if tt.lost {
					return errAway
				}
				return nil
			}
			w.term(t, []bridge.Message{message(1, "u", tt.header...)})
			if got := w.receipts["1"]; got.Outcome != tt.outcome || got.Unsure != tt.unsure {
				t.Errorf("outcome %s, unsure %v, want %s, %v", got.Outcome, got.Unsure, tt.outcome, tt.unsure)
			}
			if got := w.history("u"); len(got) != tt.kept {
				t.Errorf("history holds %v, want %d", got, tt.kept)
			}
		})
	}
}

// What an earlier leader has withdrawn is pushed to no socket that has come since.
func TestRouteWhatWasWithdrawn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.index.Withdrawn(at(2))
	register(t, w.store, "u", "s")
	w.term(t, []bridge.Message{message(1, "u"), message(2, "u", bridge.HeaderOffline, bridge.OfflineDrop), message(3, "u")})
	if d := cmp.Diff([]bridge.Offset{at(1), at(3)}, w.pushed); d != "" {
		t.Errorf("pushed (-want +got):\n%s", d)
	}
	if got := w.receipts["2"].Outcome; got != bridge.Offline {
		t.Errorf("outcome %s, want offline", got)
	}
	if d := cmp.Diff([]uint64{1, 3}, w.history("u")); d != "" {
		t.Errorf("history (-want +got):\n%s", d)
	}
}

// A node that cannot register its sockets is sent everything.
func TestRouteToNodesThatCannotRegister(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.unregistered = []bridge.NodeID{other}
	register(t, w.store, "u", "s1")
	register(t, w.away, "v", "s2")
	w.term(t, []bridge.Message{message(1, "u"), message(2, "v"), message(3, "nobody")})
	if d := cmp.Diff([]bridge.Offset{at(1), at(2), at(3)}, w.forwards); d != "" {
		t.Errorf("forwarded (-want +got):\n%s", d)
	}
	if got := w.receipts["1"].Sockets; got != 2 {
		t.Errorf("message 1 reached %d sockets, want the one that is registered and the one that is not", got)
	}
}
