package hub

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/store"
)

// gatedHistory stops reads until they are let go.
type gatedHistory struct {
	testIndex
	reading chan struct{} // is told of each call that has begun; nil: none stops
	read    chan struct{} // closed to let calls go
}

func (h *gatedHistory) Read(ctx context.Context, q bridge.HistoryQuery) (bridge.Replay, error) {
	page, err := h.testIndex.Read(ctx, q)
	if h.reading != nil {
		h.reading <- struct{}{}
		<-h.read
	}
	return page, err
}

// gatedStore stops registrations, once they are to be stopped, until they are let go.
type gatedStore struct {
	*store.MemoryNode
	registering chan struct{} // is told of each call that has begun; nil: none stops
	register    chan struct{} // closed to let calls go
}

func (s *gatedStore) Register(ctx context.Context, r bridge.Registration) (bridge.Registered, error) {
	if s.registering != nil {
		s.registering <- struct{}{}
		<-s.register
	}
	return s.MemoryNode.Register(ctx, r)
}

// TestReplayOfAnEarlierMapping: a socket is mapped again while a resync reads for the mapping
// before. What the resync has read belongs to that one: it is not given, is no evidence that
// the user has received anything, and does not let live messages overtake the new replay.
func TestReplayOfAnEarlierMapping(t *testing.T) {
	t.Parallel()
	for name, next := range map[string]bridge.UserID{"the same user": "u", "another user": "v"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			st := &gatedStore{MemoryNode: store.NewMemory(store.Limits{}).Node("n"), register: make(chan struct{})}
			history := &gatedHistory{testIndex: newIndex(), read: make(chan struct{})}
			if _, err := st.Beat(ctx); err != nil {
				t.Fatal(err)
			}
			h := New(st, history, Config{MaxPending: 1 << 20, SessionTTL: time.Hour}, slog.New(slog.DiscardHandler))
			seq := uint64(0)
			appended := func(user bridge.UserID) *bridge.Envelope {
				seq++
				return history.put(user, seq)
			}
			first := appended("u").Offset
			p := &page{}
			s := &socket{conn: &pageConn{page: p, id: "s", ctx: ctx}, cursors: cursorArgument}
			if err := h.bind(ctx, s, "u", &claim{after: first}, nil); err != nil { // it claims what no socket was given
				t.Fatal(err)
			}
			lost := appended("u").Offset
			var want []bridge.Offset
			if next == "u" {
				want = append(want, first, lost)
			}
			history.reading = make(chan struct{}, 8)
			h.Resync()
			endOfHistory := make(chan error, 1)
			go func() { endOfHistory <- h.runReplays(ctx) }()
			<-history.reading // it has the message that was lost

			st.registering = make(chan struct{}, 8)
			bound := make(chan error, 1)
			go func() { bound <- h.bind(ctx, s, next, nil, nil) }()
			<-st.registering
			close(history.read)
			if err := <-endOfHistory; err != nil {
				t.Fatal(err)
			}
			live := appended(next)
			h.Push(live)
			want = append(want, live.Offset)
			h.flush(ctx)
			if taken, err := st.Delivered(ctx, next); err != nil || taken.After(bridge.Offset{}) {
				t.Errorf("the user has received up to %v (%v), want nothing", taken, err)
			}
			close(st.register)
			if err := <-bound; err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(p.got, want) {
				t.Errorf("got %v, want %v", p.got, want)
			}
		})
	}
}
