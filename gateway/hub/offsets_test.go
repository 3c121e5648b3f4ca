package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/store"
)

// awayStore takes no marks while away.
type awayStore struct {
	*store.MemoryNode
	away bool
	took []int // how many marks each call brought
}

func (s *awayStore) Taken(ctx context.Context, given []bridge.Delivered) error {
	if s.away {
		return errors.New("away")
	}
	s.took = append(s.took, len(given))
	return s.MemoryNode.Taken(ctx, given)
}

func movedHub(t *testing.T, users int) (*Hub, *awayStore, testIndex) {
	st := &awayStore{MemoryNode: store.NewMemory(store.Limits{}).Node("n")}
	if _, err := st.Beat(t.Context()); err != nil {
		t.Fatal(err)
	}
	index := newIndex()
	h := New(st, index, Config{MaxPending: 1 << 20, SessionTTL: time.Hour}, slog.New(slog.DiscardHandler))
	for i := range users {
		s := &socket{conn: &pageConn{page: &page{}, id: fmt.Sprint("s", i), ctx: t.Context()}, cursors: cursorArgument}
		if err := h.bind(t.Context(), s, bridge.UserID(fmt.Sprint("u", i)), nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	return h, st, index
}

// TestTakenIsTriedAgain: how far a user has received reaches the store also when it
// was away at first, so that the user's next page does not see it all again.
func TestTakenIsTriedAgain(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	h, st, index := movedHub(t, 2)
	if c := h.Push(index.put("u0", 1)); c.Took != 1 {
		t.Fatalf("Push: %+v", c)
	}
	inbox := func() int {
		found, err := st.Register(ctx, bridge.Registration{User: "u0", Socket: "fresh"})
		if err != nil {
			t.Fatal(err)
		}
		return len(index.Index.Read(bridge.HistoryQuery{User: "u0", After: found.Delivered, Inbox: true, Limit: 10}).Entries)
	}
	st.away = true
	h.flush(ctx)
	if n := inbox(); n != 1 {
		t.Fatalf("%d messages in the inbox while the store takes no marks, want 1", n)
	}
	st.away = false
	h.flush(ctx)
	if n := inbox(); n != 0 {
		t.Errorf("%d messages in the inbox after the store came back, want 0", n)
	}
}

// TestIdleFlushIsFree: sockets that receive nothing cost nothing.
func TestIdleFlushIsFree(t *testing.T) {
	ctx := t.Context()
	h, _, _ := movedHub(t, 1000)
	h.flush(ctx)
	if n := testing.AllocsPerRun(10, func() { h.flush(ctx) }); n != 0 {
		t.Errorf("an idle flush allocates %v times", n)
	}
}

// TestTakenInTurns: however many users receive something, no call keeps the store for
// long, and every user's mark is recorded in the end.
func TestTakenInTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const users = 3000
		h, st, _ := movedHub(t, users)
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { h.Run(ctx) })
		for i := range users {
			h.Push(&bridge.Envelope{User: bridge.UserID(fmt.Sprint("u", i)), Topic: "t", Payload: []byte("{}"), Offset: bridge.Offset{Epoch: 1, Seq: uint64(i) + 1}})
		}
		time.Sleep(2 * time.Second)
		stop()
		running.Wait()
		sum := 0
		for _, n := range st.took {
			sum += n
			if most := offsetFlushMax * len(h.shards) / offsetFlushSlots; n > most {
				t.Errorf("%d marks in one call, want at most %d", n, most)
			}
		}
		if sum != users {
			t.Errorf("%d marks recorded in %d calls, want %d", sum, len(st.took), users)
		}
	})
}

// TestUserChangesWhileAnotherBinds: a socket that is about to leave its user's list, and is mapped to
// another user already, says nothing about what sockets of the first one were given.
func TestUserChangesWhileAnotherBinds(t *testing.T) {
	t.Parallel()
	h, _, index := movedHub(t, 0)
	open := func(id string) *socket {
		return &socket{conn: &pageConn{page: &page{}, id: id, ctx: t.Context()}, cursors: cursorArgument}
	}
	leaving := open("leaving")
	h.add("carol", leaving)
	leaving.bind("alice", &h.shard("alice").dirty, &h.cursors)
	leaving.startAt(bridge.Offset{}, at(7))
	index.put("carol", 6)
	index.put("alice", 7)
	fresh := open("fresh")
	if err := h.bind(t.Context(), fresh, "carol", nil, nil); err != nil {
		t.Fatal(err)
	}
	if _, gave := fresh.beginning(); !gave || fresh.lastGiven() != at(6) {
		t.Errorf("the socket begins after %v and was not given its user's message", fresh.lastGiven())
	}
}
