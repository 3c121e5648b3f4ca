package sio

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/codewar/socketbridge/internal/testutil/wait"
)

// TestMain runs the tests, or, in the process that a test has started for it, the
// library as it is shipped (stock_test.go).
func TestMain(m *testing.M) {
	if os.Getenv(stockEnv) != "" {
		serveStock()
		return
	}
	goleak.VerifyTestMain(m)
}

// recorder is a Handler that keeps what it is told.
type recorder struct {
	admit   func(s *Socket) *Refusal
	restore func(pid, offset string) (Restored, bool)
	connect func(s *Socket)
	event   func(s *Socket, name string, args []json.RawMessage, ack func(...any))

	mu      sync.Mutex
	log     []string // one line for each call
	sockets []*Socket
}

func (r *recorder) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, fmt.Sprintf(format, args...))
}

func (r *recorder) lines() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.log)
}

// socket waits for the n-th socket that has connected, counting from 0.
func (r *recorder) socket(t testing.TB, n int) *Socket {
	t.Helper()
	waitFor(t, func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.sockets) > n })
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sockets[n]
}

func (r *recorder) Admit(_ context.Context, s *Socket) *Refusal {
	if r.admit == nil {
		return nil
	}
	return r.admit(s)
}

func (r *recorder) Restore(_ context.Context, _ *Socket, pid, offset string) (Restored, bool) {
	if r.restore == nil {
		return Restored{}, false
	}
	return r.restore(pid, offset)
}

func (r *recorder) Connect(s *Socket) {
	r.note("connect")
	if r.connect != nil {
		r.connect(s)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sockets = append(r.sockets, s)
}

func (r *recorder) Event(s *Socket, name string, args []json.RawMessage, ack func(...any)) {
	r.note("event %s %s", name, join(args))
	if r.event != nil {
		r.event(s, name, args, ack)
	}
}

func (r *recorder) Disconnect(s *Socket, reason string) { r.note("disconnect %s", reason) }

func join(args []json.RawMessage) string {
	b, _ := json.Marshal(args)
	return string(b)
}

// newServer starts a server for the time of the test and returns its address.
func newServer(t testing.TB, cfg Config, h Handler) (*Server, string) {
	t.Helper()
	s := New(cfg, h, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})))
	web := httptest.NewUnstartedServer(s)
	web.Listener = s.WebsocketListener(web.Listener, "/socket.io/", 10*time.Second)
	web.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		web.Close()
		s.check(t)
	})
	return s, web.URL
}

// check holds the server's books against each other when all clients are gone.
func (s *Server) check(t testing.TB) {
	t.Helper()
	waitFor(t, func() bool {
		s.mu.RLock()
		defer s.mu.RUnlock()
		n := s.Stats()
		return n.Websocket == 0 && n.Polling == 0 &&
			len(s.conns) == 0 && len(s.sockets) == 0 && s.memory.Held() == 0 &&
			s.library.io.Sockets().Sockets().Len() == 0
	})
}

func waitFor(t testing.TB, cond func() bool) {
	t.Helper()
	wait.For(t, "the condition of this line holds", cond)
}
