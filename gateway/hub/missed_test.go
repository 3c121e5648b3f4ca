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

// TestMissedShowsAtTheNext: a message that found nobody, because the store had lost
// the registrations, must not be overtaken by the next one, which another socket of
// the user brings to this node before all are registered again.
func TestMissedShowsAtTheNext(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	st := store.NewMemory(store.Limits{}).Node("n")
	if _, err := st.Beat(ctx); err != nil {
		t.Fatal(err)
	}
	index := newIndex()
	h := New(st, index, Config{MaxPending: 1 << 20, SessionTTL: time.Hour}, slog.New(slog.DiscardHandler))
	running, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); h.Run(running) }()
	t.Cleanup(func() { stop(); <-done })

	open := func(id string) (*page, *socket) {
		p := &page{}
		s := &socket{conn: &pageConn{page: p, id: id, ctx: ctx}, cursors: cursorArgument}
		if err := h.bind(ctx, s, "u", nil, nil); err != nil {
			t.Fatal(err)
		}
		return p, s
	}
	first, _ := open("first")
	second, s := open("second")
	indexed := func(seq uint64) *bridge.Envelope { return index.put("u", seq) }
	h.Push(indexed(1))
	indexed(2) // finds nobody
	if _, err := st.Register(ctx, s.registration()); err != nil {
		t.Fatal(err)
	}
	h.Push(indexed(3)) // finds the second one, and comes to both
	want := []bridge.Offset{{Epoch: 1, Seq: 1}, {Epoch: 1, Seq: 2}, {Epoch: 1, Seq: 3}}
	for name, p := range map[string]*page{"first": first, "second": second} {
		var got []bridge.Offset
		for deadline := time.Now().Add(10 * time.Second); len(got) < len(want) && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			p.mu.Lock()
			got = slices.Clone(p.got)
			p.mu.Unlock()
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s got %v, want %v", name, got, want)
		}
	}
}
