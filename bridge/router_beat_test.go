package bridge_test

import (
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/store"
)

// beatWorld keeps the sequences of beats.
type beatWorld struct {
	*world
	mu    sync.Mutex // guards beats
	beats []uint64
}

func (w *beatWorld) Nodes() []bridge.NodeID { return nil }

func (w *beatWorld) Beat(_, dispatched uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.beats = append(w.beats, dispatched)
}

// TestBeatSaysHowFarTheTermIs: by what is indexed before the first message is handed on, and by what
// is handed on after that.
func TestBeatSaysHowFarTheTermIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		index := bridge.NewIndex(bridge.IndexConfig{TTL: time.Hour, MaxPerUser: 10, MaxMemory: 1 << 20})
		index.Begin(at(5))
		w := &beatWorld{world: &world{push: func(*bridge.Envelope) bridge.Count { return bridge.Count{Took: 1} }}}
		r := bridge.NewRouter(bridge.RouterConfig{Node: self}, store.NewMemory(store.Limits{}).Node(self), index, w, w, w, slog.New(slog.DiscardHandler))
		r.Begin(1)
		synctest.Wait()
		if err := r.Route(t.Context(), 1, []bridge.Message{{Offset: at(6), Topic: "t", Body: []byte(`{"userId":"u"}`), Stored: time.Now()}}); err != nil {
			t.Fatal(err)
		}
		index.Advance(at(9)) // read and not yet handed on: that is on no link
		time.Sleep(time.Second)
		synctest.Wait()
		r.End(1)
		if d := cmp.Diff([]uint64{5, 6}, w.beats); d != "" {
			t.Errorf("beats (-want +got):\n%s", d)
		}
	})
}
