package hub

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/internal/metrics"
	"github.com/codewar/socketbridge/store"
)

// TestLostRegistrationsAreFoundAgain: what a store has lost without a word is there again
// within 30 s, registrations and sessions, and what found nobody meanwhile is delivered.
func TestLostRegistrationsAreFoundAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st := store.NewMemory(store.Limits{HistoryTTL: time.Hour, SessionTTL: time.Hour, NodeLease: time.Hour}).Node("n")
		ctx := t.Context()
		if _, err := st.Beat(ctx); err != nil {
			t.Fatal(err)
		}
		index := newIndex()
		h := New(st, index, Config{MaxPending: 1 << 20, SessionTTL: time.Hour}, slog.New(slog.DiscardHandler))
		running, stop := context.WithCancel(ctx)
		var hub sync.WaitGroup
		hub.Go(func() { h.Run(running) })
		defer hub.Wait()
		defer stop()

		const users = 250 // more than a chunk
		sockets := make([]*socket, users)
		user := func(i int) bridge.UserID { return bridge.UserID(fmt.Sprint("u", i)) }
		for i := range sockets {
			sockets[i] = &socket{conn: sessionConn{&pageConn{page: &page{}, id: fmt.Sprint("s", i), ctx: ctx}}, cursors: cursorArgument}
			if err := h.bind(ctx, sockets[i], user(i), nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		for i, s := range sockets {
			if err := st.Unregister(ctx, s.registration(), bridge.Delivered{}); err != nil {
				t.Fatal(err)
			}
			if err := st.DropSession(ctx, user(i), s.conn.PID()); err != nil {
				t.Fatal(err)
			}
		}
		e := &bridge.Envelope{User: user(0), Topic: "t", Payload: []byte("{}"), Offset: bridge.Offset{Epoch: 1, Seq: 1}}
		e.Stored = time.Now()
		index.Append([]*bridge.Envelope{e})
		if found, err := h.locate(ctx, user(0)); err != nil || len(found) != 0 {
			t.Fatalf("the registration is not lost: %+v, %v", found, err)
		}

		time.Sleep(renewWithin)
		synctest.Wait()
		for i := range sockets {
			found, err := h.locate(ctx, user(i))
			if err != nil || len(found) != 1 {
				t.Fatalf("%s has %d sockets, want 1 (%v)", user(i), len(found), err)
			}
		}
		if _, err := st.Session(ctx, sockets[0].conn.PID()); err != nil {
			t.Errorf("session: %v", err)
		}
		if last := sockets[0].lastGiven(); last != e.Offset {
			t.Errorf("the socket was given up to %v, want %v", last, e.Offset)
		}
		if n := metrics.Value(h.metrics.renewed); n != users {
			t.Errorf("%d registrations counted as lost, want %d", n, users)
		}
	})
}

// TestRenewalsOfSocketsThatLeave: a renewal that comes after the removal of its socket
// leaves no registration behind.
func TestRenewalsOfSocketsThatLeave(t *testing.T) {
	t.Parallel()
	st := &slowRenew{MemoryNode: store.NewMemory(store.Limits{}).Node("n")}
	ctx := t.Context()
	if _, err := st.Beat(ctx); err != nil {
		t.Fatal(err)
	}
	h := New(st, newIndex(), Config{MaxPending: 1 << 20}, slog.New(slog.DiscardHandler))
	s := &socket{conn: &pageConn{page: &page{}, id: "s", ctx: ctx}}
	if err := h.bind(ctx, s, "u", nil, nil); err != nil {
		t.Fatal(err)
	}
	st.before = func() { h.unbind(s) }
	if err := h.Rejoined(ctx); err != nil {
		t.Fatal(err)
	}
	if found, _ := h.locate(ctx, "u"); len(found) != 1 {
		t.Fatal("the renewal did not come last: the test tests nothing")
	}
	h.removeGone(ctx)
	if found, err := h.locate(ctx, "u"); err != nil || len(found) != 0 {
		t.Errorf("a socket that has left is registered: %v, %v", found, err)
	}
}

// slowRenew lets something happen before a renewal arrives.
type slowRenew struct {
	*store.MemoryNode
	before func()
}

func (s *slowRenew) Renew(ctx context.Context, renewals []bridge.Renewal) ([]bool, error) {
	s.before()
	return s.MemoryNode.Renew(ctx, renewals)
}
