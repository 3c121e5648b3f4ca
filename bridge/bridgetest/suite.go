// Package bridgetest states what every [bridge.Store] guarantees, as tests.
package bridgetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/internal/wait"
)

// Limits is how the store of a test is to be configured.
type Limits struct {
	HistoryTTL  time.Duration
	MaxMemory   int // bytes; a store whose memory is bounded by its server ignores it
	MaxPerUser  int // a store may keep some more
	MaxTraces   int // likewise
	TraceTTL    time.Duration
	NodeLease   time.Duration
	SessionTTL  time.Duration
	MaxSessions int
}

// Open makes an empty backend and returns how each node opens it. A node id that
// is opened again is a restarted process. The stores are closed when the test ends.
type Open func(t testing.TB, limits Limits) func(node bridge.NodeID) bridge.Store

// long outlives every test, so that only what a test makes short can lapse.
func long() Limits {
	return Limits{
		HistoryTTL: time.Hour, MaxPerUser: 1000, MaxTraces: 100_000, TraceTTL: time.Hour,
		NodeLease: time.Hour, SessionTTL: time.Hour, MaxSessions: 100,
	}
}

// short is for what a test wants to see lapse.
const short = 300 * time.Millisecond

// TestStore runs the suite. What appends is run a second time by the leader,
// whose store may know more.
func TestStore(t *testing.T, open Open) {
	for _, group := range []struct {
		name  string
		open  Open
		tests map[string]func(*testing.T, Open)
	}{
		{"log", open, logTests},
		{"gap", open, gapTests},
		{"withdraw", open, withdrawTests},
		{"registry", open, registryTests},
		{"renewal", open, renewalTests},
		{"log of the leader", leading(open), logTests},
		{"gap of the leader", leading(open), gapTests},
		{"withdraw of the leader", leading(open), withdrawTests},
		{"registry of the leader", leading(open), registryTests},
		{"node", open, nodeTests},
		{"leader", open, leaderTests},
		{"session", open, sessionTests},
		{"trace", open, traceTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			for name, test := range group.tests {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					test(t, group.open)
				})
			}
		})
	}
}

// leading makes the first node that is opened the leader.
func leading(open Open) Open {
	return func(t testing.TB, limits Limits) func(bridge.NodeID) bridge.Store {
		at := open(t, limits)
		claimed := false
		return func(id bridge.NodeID) bridge.Store {
			s := at(id)
			if !claimed {
				if err := s.Claim(t.Context(), 1); err != nil {
					t.Fatalf("Claim: %v", err)
				}
				claimed = true
			}
			return s
		}
	}
}

// node is a store whose errors fail the test.
type node struct {
	t testing.TB
	bridge.Store
}

// join opens a node and lets it join.
func join(t testing.TB, at func(bridge.NodeID) bridge.Store, id bridge.NodeID) node {
	t.Helper()
	n := node{t, at(id)}
	if !n.beat() {
		t.Fatalf("node %s: first Beat: rejoined = false", id)
	}
	return n
}

// one opens a backend with a single node.
func one(t testing.TB, open Open, limits Limits) node {
	t.Helper()
	return join(t, open(t, limits), "a")
}

func (n node) check(what string, err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatalf("%s: %v", what, err)
	}
}

func (n node) beat() (rejoined bool) {
	n.t.Helper()
	rejoined, err := n.Beat(n.t.Context())
	n.check("Beat", err)
	return rejoined
}

func (n node) append(entries ...bridge.Entry) []bridge.Appended {
	n.t.Helper()
	got, err := n.Append(n.t.Context(), entries)
	n.check("Append", err)
	if len(got) != len(entries) {
		n.t.Fatalf("Append of %d entries: %d results", len(entries), len(got))
	}
	return got
}

// keep appends messages of a user one by one and fails when one is not appended.
func (n node) keep(user bridge.UserID, seqs ...uint64) {
	n.t.Helper()
	for _, seq := range seqs {
		if got := n.append(entry(user, seq))[0]; got.Refused || got.Absent {
			n.t.Fatalf("Append %d: %+v", seq, got)
		}
	}
}

func (n node) read(user bridge.UserID, after uint64, limit int) bridge.Replay {
	n.t.Helper()
	got, err := n.Read(n.t.Context(), user, at(after), limit)
	n.check("Read", err)
	return got
}

func (n node) register(r bridge.Registration) bridge.Replay {
	n.t.Helper()
	got, err := n.Register(n.t.Context(), r)
	n.check("Register", err)
	return got
}

func (n node) unregister(r bridge.Registration, taken uint64) {
	n.t.Helper()
	n.check("Unregister", n.Unregister(n.t.Context(), r, given(r.User, 0, taken)))
}

func (n node) taken(ds ...bridge.Delivered) {
	n.t.Helper()
	n.check("Taken", n.Taken(n.t.Context(), ds))
}

func (n node) withdraw(user bridge.UserID, seq uint64) (gone bool) {
	n.t.Helper()
	gone, err := n.Withdraw(n.t.Context(), user, at(seq))
	n.check("Withdraw", err)
	return gone
}

// located returns the user's sockets as "socket@node".
func (n node) located(user bridge.UserID) []string {
	n.t.Helper()
	found, err := n.Locate(n.t.Context(), user)
	n.check("Locate", err)
	return places(found)
}

func places(found []bridge.Presence) []string {
	var got []string
	for _, p := range found {
		got = append(got, fmt.Sprintf("%s@%s", p.Socket, p.Node))
	}
	return got
}

// epoch is the epoch of the suite's offsets.
const epoch = 1_790_000_000_000

func at(seq uint64) bridge.Offset { return bridge.Offset{Epoch: epoch, Seq: seq} }

// given says that a socket was given what comes after one message up to another; 0 is
// before every message.
func given(user bridge.UserID, from, to uint64) bridge.Delivered {
	d := bridge.Delivered{User: user}
	if from > 0 {
		d.From = at(from)
	}
	if to > 0 {
		d.To = at(to)
	}
	return d
}

func after(seq uint64) *bridge.Offset { return new(at(seq)) }

func entry(user bridge.UserID, seq uint64) bridge.Entry {
	return bridge.Entry{Envelope: &bridge.Envelope{
		User: user, Topic: "submissionUpdate", Offset: at(seq),
		Payload: fmt.Appendf(nil, `{"seq":%d,"text":"é\u0000\n"}`, seq),
	}}
}

// only is an entry that is of no use to an absent user.
func only(user bridge.UserID, seq uint64) bridge.Entry {
	e := entry(user, seq)
	e.OnlyIfPresent = true
	return e
}

func socket(user bridge.UserID, id bridge.SocketID) bridge.Registration {
	return bridge.Registration{User: user, Socket: id, Token: "t1", Limit: 100}
}

func seqs(r bridge.Replay) []uint64 {
	var got []uint64
	for _, e := range r.Entries {
		got = append(got, e.Offset.Seq)
	}
	return got
}

func equal(t testing.TB, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

var waitFor = wait.For
