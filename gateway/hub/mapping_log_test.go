package hub

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/store"
)

func TestUsersLike(t *testing.T) {
	t.Parallel()
	st := store.NewMemory(store.Limits{}).Node("n")
	if _, err := st.Beat(t.Context()); err != nil {
		t.Fatal(err)
	}
	h := New(st, newIndex(), Config{}, slog.New(slog.DiscardHandler))
	for n := range 300 {
		for tab := range 1 + n%2 {
			s := &socket{conn: &pageConn{page: new(page), id: fmt.Sprint(n, "-", tab), ctx: t.Context()}}
			user := bridge.UserID(fmt.Sprintf("user_%03d", n))
			s.bind(user, &h.shard(user).dirty, &h.cursors)
			h.add(user, s)
		}
	}
	got, total := h.UsersLike("user_1", 3)
	want := []UserState{{User: "user_100", Sockets: 1}, {User: "user_101", Sockets: 2}, {User: "user_102", Sockets: 1}}
	if d := cmp.Diff(want, got); d != "" || total != 100 {
		t.Errorf("%d in all (-want +got):\n%s", total, d)
	}
	if got, total := h.UsersLike("", 1000); len(got) != 300 || total != 300 {
		t.Errorf("all: %d of %d", len(got), total)
	}
	if got, total := h.UsersLike("nobody", 10); len(got) != 0 || total != 0 {
		t.Errorf("nobody: %v of %d", got, total)
	}
	if got := h.SocketsOf("user_101"); len(got) != 2 || got[0].Socket != "101-0" {
		t.Errorf("sockets: %+v", got)
	}
	h.of("user_101")[0].bind("other", &h.shard("other").dirty, &h.cursors) // it is about to leave the list
	if got := h.SocketsOf("user_101"); len(got) != 1 || got[0].Socket != "101-1" {
		t.Errorf("sockets, without the one that is another user's: %+v", got)
	}
}
