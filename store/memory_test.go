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
			e := &bridge.Envelope{User: user, Topic: "t", Payload: []byte("{}"), Offset: bridge.Offset{Epoch: 1, Seq: uint64(i + 1)}}
			if _, err := n.Append(ctx, []bridge.Entry{{Envelope: e}}); err != nil {
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
		kept := func() (entries, sockets int) {
			for _, u := range m.users {
				entries += len(u.history)
				sockets += len(u.sockets)
			}
			return entries, sockets
		}

		time.Sleep(m.limits.HistoryTTL)
		stir()
		if entries, sockets := kept(); entries > 100 || sockets > 100 || len(m.users) != 1000 {
			t.Errorf("after the history's time: %d entries, %d sockets, %d users", entries, sockets, len(m.users))
		}
		time.Sleep(m.limits.marksTTL())
		stir()
		if len(m.users) > 100 || len(m.sessions) > 100 {
			t.Errorf("after the marks' time: %d users, %d sessions", len(m.users), len(m.sessions))
		}
	})
}

func TestMemoryKeepsNoMoreThanItMust(t *testing.T) {
	m := NewMemory(Limits{MaxPerUser: 10})
	n := m.Node("a")
	for i := range uint64(1000) {
		e := &bridge.Envelope{User: "u", Payload: make([]byte, 100), Offset: bridge.Offset{Epoch: 1, Seq: i + 1}}
		if _, err := n.Append(t.Context(), []bridge.Entry{{Envelope: e}}); err != nil {
			t.Fatal(err)
		}
	}
	if u := m.users["u"]; len(u.history) != 10 || cap(u.history) > 40 {
		t.Errorf("%d entries in room for %d", len(u.history), cap(u.history))
	}
}
