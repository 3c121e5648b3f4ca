package hub

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/store"
)

// stuckConn is a page that stops reading, and may read again.
type stuckConn struct {
	pageConn
	stuck atomic.Bool
	read  chan struct{} // closed when it reads again
}

func (c *stuckConn) Pending() int {
	if c.stuck.Load() {
		return 1 << 30
	}
	return 0
}

func (c *stuckConn) WaitDrained(ctx context.Context, _ int) error {
	if !c.stuck.Load() {
		return c.ctx.Err()
	}
	select {
	case <-c.read:
		return nil
	case <-c.ctx.Done():
		return errGone
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// runningHub runs a hub over an empty store until the test ends.
func runningHub(t *testing.T, history bridge.History) (h *Hub, ctx context.Context, stop context.CancelFunc) {
	t.Helper()
	st := store.NewMemory(store.Limits{}).Node("n")
	ctx, stop = context.WithCancel(context.Background())
	if _, err := st.Beat(ctx); err != nil {
		t.Fatal(err)
	}
	h = New(st, history, Config{MaxPending: 1 << 20, SessionTTL: time.Hour}, slog.New(slog.DiscardHandler))
	done := make(chan struct{})
	go func() { defer close(done); h.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	return h, ctx, stop
}

// TestPagesBehind: pages that do not read, more of them than histories are read at
// once, delay no other replay, and get theirs when they read again.
func TestPagesBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		index := newIndex()
		h, ctx, _ := runningHub(t, index)
		const pages = 3 * resyncWorkers
		conns, users := make([]*stuckConn, pages), make([]bridge.UserID, pages)
		for i := range conns {
			users[i] = bridge.UserID(fmt.Sprint("user", i))
			leave, cancel := context.WithCancel(ctx)
			defer cancel()
			conns[i] = &stuckConn{pageConn: pageConn{page: &page{}, id: fmt.Sprint(i), ctx: leave, cancel: cancel}, read: make(chan struct{})}
			if err := h.bind(ctx, &socket{conn: conns[i], cursors: cursorArgument}, users[i], nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		got := func(c *stuckConn) []bridge.Offset {
			c.page.mu.Lock()
			defer c.page.mu.Unlock()
			return slices.Clone(c.page.got)
		}
		all := make([][]bridge.Offset, pages) // of each user
		for n := range 3 * pages {            // lost on their way to this node
			e := index.put(users[n%pages], uint64(n+1))
			all[n%pages] = append(all[n%pages], e.Offset)
		}
		// All but one read nothing; the first of them leaves.
		for _, c := range conns[1:] {
			c.stuck.Store(true)
		}
		h.Resync()
		synctest.Wait()
		if g := got(conns[0]); !slices.Equal(g, all[0]) {
			t.Errorf("the one that reads got %v, want %v", g, all[0])
		}
		conns[1].Close("left")
		for _, c := range conns[1:] {
			if g := got(c); len(g) > 0 {
				t.Errorf("one that does not read got %v", g)
			}
			c.stuck.Store(false)
			close(c.read)
		}
		synctest.Wait()
		for i, c := range conns[2:] {
			if g := got(c); !slices.Equal(g, all[i+2]) {
				t.Errorf("page %d, when it reads again, got %v, want %v", i+2, g, all[i+2])
			}
		}
	})
}
