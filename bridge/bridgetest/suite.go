// Package bridgetest states what every [bridge.Store] guarantees, as tests.
package bridgetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/internal/testutil/wait"
)

// Limits is how the store of a test is to be configured.
type Limits struct {
	HistoryTTL  time.Duration
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
		HistoryTTL: time.Hour, NodeLease: time.Hour, SessionTTL: time.Hour, MaxSessions: 100,
	}
}

// short is for what a test wants to see lapse.
const short = 300 * time.Millisecond

// TestStore runs the suite.
func TestStore(t *testing.T, open Open) {
	for _, group := range []struct {
		name  string
		open  Open
		tests map[string]func(*testing.T, Open)
	}{
		{"registry", open, registryTests},
		{"renewal", open, renewalTests},
		{"node", open, nodeTests},
		{"session", open, sessionTests},
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

func (n node) register(r bridge.Registration) bridge.Registered {
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

func (n node) delivered(user bridge.UserID) uint64 {
	n.t.Helper()
	o, err := n.Delivered(n.t.Context(), user)
	n.check("Delivered", err)
	return o.Seq
}

// located returns the user's sockets as "socket@node".
func (n node) located(user bridge.UserID) []string {
	n.t.Helper()
	return places(n.locate(user)[0])
}

// locate returns the sockets of users, each with its node.
func (n node) locate(users ...bridge.UserID) (sockets [][]bridge.Presence) {
	n.t.Helper()
	found := n.Locate(n.t.Context(), users)
	if len(found) != len(users) {
		n.t.Fatalf("Locate of %d users: %d results", len(users), len(found))
	}
	for _, at := range found {
		n.check("Locate", at.Err)
		sockets = append(sockets, at.Sockets)
	}
	return sockets
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

func socket(user bridge.UserID, id bridge.SocketID) bridge.Registration {
	return bridge.Registration{User: user, Socket: id, Token: "t1"}
}

func equal(t testing.TB, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

var waitFor = wait.For
