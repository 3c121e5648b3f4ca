package hub

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// farHistory answers each query after a round trip to the leader.
type farHistory struct{ testIndex }

func (h farHistory) Read(ctx context.Context, q bridge.HistoryQuery) (bridge.Replay, error) {
	time.Sleep(5 * time.Millisecond)
	return h.testIndex.Read(ctx, q)
}

// A new leader has every socket of a node ask for its history, and live messages wait for the
// answers: those of thousands of sockets must be there within a fraction of a second.
func TestResyncOfManySockets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		index := newIndex()
		h, ctx, stop := runningHub(t, farHistory{index})
		const sockets, far = 8000, 3 * resyncBatch
		pages := make([]*page, sockets)
		for i := range pages {
			pages[i] = &page{}
			if err := h.bind(ctx, &socket{conn: &pageConn{page: pages[i], id: fmt.Sprint(i), ctx: ctx, cancel: stop}, cursors: cursorArgument}, bridge.UserID(fmt.Sprint(i)), nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		for n := range far { // one socket has missed more than a page
			index.put("0", uint64(n+1))
		}
		got := func(i int) int {
			pages[i].mu.Lock()
			defer pages[i].mu.Unlock()
			return len(pages[i].got)
		}
		began := time.Now()
		h.Resync()
		for i := range pages[:100] { // live, while the histories are read
			h.Push(index.put(bridge.UserID(fmt.Sprint(i)), uint64(far+i+1)))
		}
		synctest.Wait()
		for i := range pages {
			want := 0
			switch {
			case i == 0:
				want = far + 1
			case i < 100:
				want = 1
			}
			for got(i) < want {
				if time.Since(began) > 10*time.Second {
					t.Fatalf("socket %d has %d messages, want %d", i, got(i), want)
				}
				time.Sleep(time.Millisecond)
				synctest.Wait()
			}
		}
		if took := time.Since(began); took > 500*time.Millisecond {
			t.Errorf("%d sockets had their replay in %v", sockets, took)
		}
	})
}
