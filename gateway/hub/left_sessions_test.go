package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/codewar/socketbridge/gateway/auth"
	"github.com/codewar/socketbridge/gateway/siotest"
	"github.com/codewar/socketbridge/internal/testutil/wait"
	"github.com/codewar/socketbridge/store"
)

// TestConnectsOfOneUser: one token cannot connect without an end, however many
// addresses it is used from. The client is not told to stay away for ever.
func TestConnectsOfOneUser(t *testing.T) {
	t.Parallel()
	const secret = "main:an HMAC secret of 32 bytes or more"
	verifier, err := auth.Open(auth.Config{Secrets: []string{secret}, UserClaim: "sub"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := auth.NewSecretSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	clients, addr := listening(t, slog.New(slog.DiscardHandler), HandlerConfig{Verifier: verifier, ConnectsPerSecond: 1, ConnectBurst: 3}, Config{MaxPending: 1 << 20}, memory())
	join := func(user string) *websocket.Conn {
		token, err := signer.Sign(auth.Config{UserClaim: "sub"}, user, time.Minute, nil)
		if err != nil {
			t.Fatal(err)
		}
		ws, _, err := websocket.DefaultDialer.Dial("ws://"+addr+"/socket.io/?EIO=4&transport=websocket", nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ws.Close() }) // the server may have closed it
		if err := ws.WriteMessage(websocket.TextMessage, []byte(`40{"token":"`+token+`"}`)); err != nil {
			t.Fatal(err)
		}
		return ws
	}
	for range 3 {
		siotest.Await(t, join("u"), "40{")
	}
	refused := join("u")
	_ = refused.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		_, text, err := refused.ReadMessage()
		if err != nil {
			if _, closed := errors.AsType[*websocket.CloseError](err); !closed && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("the fourth connect: %v, want a closed connection", err)
			}
			break
		}
		if len(text) > 1 && text[0] == '4' {
			t.Errorf("the fourth connect is told %s", text)
		}
	}
	siotest.Await(t, join("v"), "40{")
	if n := clients.refusals.Counts()[limitUserConnect]; n != 1 {
		t.Errorf("%d refusals are counted, want 1", n)
	}
}

// TestLeftSessions: pages that connect under ever new names and leave fill neither
// the store nor the node's memory.
func TestLeftSessions(t *testing.T) {
	t.Parallel()
	st := memory()
	clients, addr := listening(t, slog.New(slog.DiscardHandler), HandlerConfig{}, Config{MaxPending: 1 << 20, MaxLeft: 2, SessionTTL: time.Hour}, st)
	pids := make([]string, 4)
	for i := range pids {
		ws := siotest.Raw(t, addr, fmt.Sprintf(`420["setUserId","u%d"]`, i))
		var joined struct{ PID string }
		if err := json.Unmarshal([]byte(siotest.Await(t, ws, "40{")[2:]), &joined); err != nil {
			t.Fatal(err)
		}
		pids[i] = joined.PID
		siotest.Await(t, ws, "430[")
		if err := ws.Close(); err != nil { // without a goodbye
			t.Fatal(err)
		}
		wait.For(t, "the page has left", func() bool { return clients.hub.Sockets() == 0 })
	}
	wait.For(t, "the two oldest sessions are gone", func() bool { return clients.refusals.Counts()[limitLeft] == 2 })
	for i, pid := range pids {
		_, err := st.Session(t.Context(), pid)
		if known := err == nil; known != (i >= 2) {
			t.Errorf("session %d is known: %v (%v)", i, known, err)
		}
	}
	if n := len(clients.hub.left.byPID); n != 2 {
		t.Errorf("%d left sessions are remembered, want 2", n)
	}
}

// TestLeftSessionsComeBack: a session whose page is back is not evicted, and one that
// has lapsed takes nobody's place.
func TestLeftSessionsComeBack(t *testing.T) {
	t.Parallel()
	l, now := leftSessions{most: 2, ttl: time.Minute}, time.Now()
	add := func(pid, want string) {
		t.Helper()
		evicted, full := l.add("u", pid, now)
		if evicted.pid != want || full != (want != "") {
			t.Errorf("with %s, %q is evicted (%v), want %q", pid, evicted.pid, full, want)
		}
	}
	add("a", "")
	add("b", "")
	l.back("a")
	add("c", "")
	add("b", "") // has come and gone again
	add("d", "c")
	now = now.Add(time.Minute)
	add("e", "")
	if l.order.Len() != 1 || len(l.byPID) != 1 {
		t.Errorf("%d and %d are remembered, want 1", l.order.Len(), len(l.byPID))
	}
}

// sessionConn is a page with a session.
type sessionConn struct{ *pageConn }

func (sessionConn) PID() string { return "pid" }

// TestSessionLives: a session lives while its page is connected, and for at least
// the history's time after that, but not for ever.
func TestSessionLives(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const history = 10 * time.Minute
		ttl := SessionTTL(history)
		st := store.NewMemory(store.Limits{SessionTTL: ttl, NodeLease: 1 << 40}).Node("n")
		if _, err := st.Beat(t.Context()); err != nil {
			t.Fatal(err)
		}
		h := New(st, newIndex(), Config{MaxPending: 1 << 20, SessionTTL: ttl}, slog.New(slog.DiscardHandler))
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { h.Run(ctx) })
		defer running.Wait()
		defer stop()
		s := &socket{conn: sessionConn{&pageConn{page: &page{}, id: "s", ctx: t.Context()}}}
		if err := h.bind(t.Context(), s, "u", nil, nil); err != nil {
			t.Fatal(err)
		}
		known := func() bool {
			_, err := st.Session(t.Context(), s.conn.PID())
			return err == nil
		}
		time.Sleep(4 * ttl)
		if !known() {
			t.Error("the session has lapsed under its page")
		}
		h.unbind(s)
		time.Sleep(history - time.Second)
		if !known() {
			t.Error("the session has lapsed before the history")
		}
		time.Sleep(history)
		if known() {
			t.Error("the session outlives the history for ever")
		}
	})
}
