package bridge_test

import (
	"context"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/store"
)

// benchWorld takes every push at once.
type benchWorld struct{ *world }

func (benchWorld) Push(*bridge.Envelope) bridge.Count { return bridge.Count{Took: 1} }

// BenchmarkRoute routes batches of 64 messages, whose users have a socket here; one operation is
// one message.
func BenchmarkRoute(b *testing.B) {
	const size = 64
	index := bridge.NewIndex(bridge.IndexConfig{TTL: time.Hour, MaxPerUser: 100, MaxMemory: 64 << 20})
	index.Begin(at(0))
	st := store.NewMemory(store.Limits{}).Node(self)
	if _, err := st.Beat(b.Context()); err != nil {
		b.Fatal(err)
	}
	msgs := make([]bridge.Message, size)
	for i := range msgs {
		user := "u" + strconv.Itoa(i)
		if _, err := st.Register(b.Context(), bridge.Registration{User: bridge.UserID(user), Socket: bridge.SocketID(user)}); err != nil {
			b.Fatal(err)
		}
		msgs[i] = message(0, user)
		msgs[i].Header = nil
	}
	w := benchWorld{&world{}}
	r := bridge.NewRouter(bridge.RouterConfig{Node: self}, st, index, w, w, w, slog.New(slog.DiscardHandler))
	r.Begin(1)
	b.ReportAllocs()
	seq := uint64(0)
	for n := 0; n < b.N; n += size {
		batch := append([]bridge.Message(nil), msgs...)
		for i := range batch {
			seq++
			batch[i].Offset = at(seq)
		}
		if err := r.Route(context.Background(), 1, batch); err != nil {
			b.Fatal(err)
		}
	}
	r.End(1)
}
