package hub

import (
	"log/slog"
	"testing"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/store"
)

// TestProgressNeverGoesBack: a connection that its client has left without a word, as one that
// polls can, does not set back what the client's next connection has recorded.
func TestProgressNeverGoesBack(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	st := store.NewMemory(store.Limits{}).Node("n")
	if _, err := st.Beat(ctx); err != nil {
		t.Fatal(err)
	}
	index := newIndex()
	h := New(st, index, Config{MaxPending: 1 << 20, SessionTTL: time.Hour}, slog.New(slog.DiscardHandler))
	open := func(id string) *socket {
		s := &socket{conn: &pageConn{page: &page{}, id: id, ctx: ctx}, cursors: cursorArgument, chosen: "tab"}
		if err := h.bind(ctx, s, "u", nil, nil); err != nil {
			t.Fatal(err)
		}
		return s
	}
	left := open("left")
	index.put("u", 1)
	next := open("next")
	h.saveProgressOf(next)
	given := func() bridge.Offset {
		t.Helper()
		session, err := st.Session(ctx, clientSessionID("u", "tab"))
		if err != nil {
			t.Fatal(err)
		}
		return session.Given
	}
	want := given()
	if want.IsZero() {
		t.Fatal("the next connection has recorded nothing: the test tests nothing")
	}
	h.saveSessions(ctx, []*socket{left})
	if got := given(); got != want {
		t.Errorf("kept alive by the connection that was left: %v, want %v", got, want)
	}
	h.unbind(left)
	if got := given(); got != want {
		t.Errorf("after its end: %v, want %v", got, want)
	}
}
