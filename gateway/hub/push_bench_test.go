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

// nullConn takes every packet.
type nullConn struct{ *pageConn }

func (nullConn) Queue(*sio.Packet) error { return nil }

// BenchmarkPush is a push to a user with one socket, without the network.
func BenchmarkPush(b *testing.B) {
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	st := store.NewMemory(store.Limits{}).Node("n")
	if _, err := st.Beat(ctx); err != nil {
		b.Fatal(err)
	}
	h := New(st, newIndex(), Config{MaxPending: 1 << 20, SessionTTL: time.Hour}, slog.New(slog.DiscardHandler))
	s := &socket{conn: nullConn{&pageConn{page: new(page), id: "s", ctx: ctx}}, cursors: cursorArgument}
	if err := h.bind(ctx, s, "u", nil, nil); err != nil {
		b.Fatal(err)
	}
	e := &bridge.Envelope{User: "u", Topic: "t", Payload: make([]byte, 200), Stored: time.Now()}
	e.Offset.Epoch = 1
	b.ReportAllocs()
	for b.Loop() {
		e.Before = e.Offset
		e.Offset.Seq++
		if c := h.Push(e); c.Took != 1 {
			b.Fatalf("%+v", c)
		}
	}
}
