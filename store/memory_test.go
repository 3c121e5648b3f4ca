package store

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// What has lapsed goes, without anybody asking for it: writing for others is enough.
func TestMemorySweeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(Limits{})
		n, dead := m.Node("a"), m.Node("b")
		ctx := t.Context()
		for _, node := range []*MemoryNode{n, dead} {
			if _, err := node.Beat(ctx); err != nil {
				t.Fatal(err)
			}
		}
		sessions := make(map[string]bridge.Session)
		for i := range 1000 {
			user := bridge.UserID(fmt.Sprint("u", i))
			if err := n.Taken(ctx, []bridge.Delivered{{User: user, To: bridge.Offset{Epoch: 1, Seq: uint64(i + 1)}}}); err != nil {
				t.Fatal(err)
			}
			if _, err := dead.Register(ctx, bridge.Registration{User: user, Socket: "s"}); err != nil {
				t.Fatal(err)
			}
			sessions[fmt.Sprint("p", i)] = bridge.Session{User: user}
		}
		if err := n.SaveSessions(ctx, sessions); err != nil {
			t.Fatal(err)
		}
		stir := func() {
			for range 5000 {
				if _, err := n.Beat(ctx); err != nil {
					t.Fatal(err)
				}
			}
		}
		time.Sleep(m.limits.NodeLease)
		stir()
		sockets := 0
		for _, u := range m.users {
			sockets += len(u.sockets)
		}
		if sockets > 100 || len(m.users) != 1000 {
			t.Errorf("after the lease of the sockets' node: %d sockets, %d users", sockets, len(m.users))
		}
		time.Sleep(m.limits.marksTTL())
		stir()
		if len(m.users) > 100 || len(m.sessions) > 100 {
			t.Errorf("after the marks' time: %d users, %d sessions", len(m.users), len(m.sessions))
		}
	})
}

// TestMemoryUsersAreBounded: progress of ever new users does not fill the memory with what is
// remembered of each.
func TestMemoryUsersAreBounded(t *testing.T) {
	t.Parallel()
	m := NewMemory(Limits{})
	m.mostUsers = 1000
	n := m.Node("n")
	to := bridge.Offset{Epoch: 1, Seq: 1}
	for i := range 10_000 {
		if err := n.Taken(t.Context(), []bridge.Delivered{{User: bridge.UserID(fmt.Sprint("u", i)), To: to}}); err != nil {
			t.Fatal(err)
		}
	}
	if len(m.users) > 1010 {
		t.Errorf("%d users are remembered, want about 1,000", len(m.users))
	}
	if got, err := n.Delivered(t.Context(), "u9999"); err != nil || got != to {
		t.Errorf("the newest user's delivered offset is %v, %v", got, err)
	}
}
