package hub

import (
	"log/slog"
	"testing"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/store"
)

// TestLatency: the time since the stream took a message is counted once when it
// is handed to sockets, however many, and not for those who have it or are away.
func TestLatency(t *testing.T) {
	t.Parallel()
	st := store.NewMemory(store.Limits{}).Node("n")
	if _, err := st.Beat(t.Context()); err != nil {
		t.Fatal(err)
	}
	h := New(st, newIndex(), Config{MaxPending: 1 << 20, SessionTTL: time.Hour}, slog.New(slog.DiscardHandler))
	for _, id := range []string{"first", "second"} {
		s := &socket{conn: &pageConn{page: new(page), id: id, ctx: t.Context()}, cursors: cursorArgument}
		if err := h.bind(t.Context(), s, "u", nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	e := &bridge.Envelope{
		User: "u", Topic: "t", Payload: []byte("{}"), Offset: bridge.Offset{Epoch: 1, Seq: 1},
		Stored: time.Now().Add(-3 * time.Second),
	}
	h.Push(e)
	h.Push(e) // everybody has it
	h.Push(&bridge.Envelope{User: "nobody", Topic: "t", Offset: bridge.Offset{Epoch: 1, Seq: 2}, Stored: e.Stored})
	if got := h.Latency(); got.Count != 1 || got.Sum < 3*time.Second || got.Sum > 8*time.Second {
		t.Errorf("counted %d, %v in all; want one of 3s", got.Count, got.Sum)
	}
}
