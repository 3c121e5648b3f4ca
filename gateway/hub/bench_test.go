package hub

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/sio"
	"github.com/codewar/socketbridge/store"
)

// sink is a connection that takes everything.
type sink struct {
	pageConn
}

func (*sink) Push(*sio.Packet) error  { return nil }
func (*sink) Queue(*sio.Packet) error { return nil }

// BenchmarkHubPush gives messages to a user's one socket, up to the queue of its connection.
func BenchmarkHubPush(b *testing.B) {
	st := store.NewMemory(store.Limits{}).Node("n")
	if _, err := st.Beat(b.Context()); err != nil {
		b.Fatal(err)
	}
	h := New(st, newIndex(), Config{MaxPending: 1 << 20, SessionTTL: time.Hour}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(b.Context())
	s := &socket{conn: &sink{pageConn{page: new(page), id: "s", ctx: ctx, cancel: cancel}}, cursors: cursorArgument}
	if err := h.bind(b.Context(), s, "u", nil, nil); err != nil {
		b.Fatal(err)
	}
	payload, stored := []byte(`{"id":1,"verdict":"Accepted"}`), time.Now()
	b.ReportAllocs()
	seq := uint64(0)
	for b.Loop() {
		seq++
		e := &bridge.Envelope{User: "u", Topic: "t", Payload: payload, Offset: bridge.Offset{Epoch: 1, Seq: seq}, Stored: stored}
		if c := h.Push(e); c.Took != 1 {
			b.Fatalf("%+v", c)
		}
	}
}
