package hub

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/auth"
	"github.com/codewar/socketbridge/gateway/limit"
	"github.com/codewar/socketbridge/gateway/sio"
	"github.com/codewar/socketbridge/gateway/siotest"
	"github.com/codewar/socketbridge/internal/testutil/capture"
	"github.com/codewar/socketbridge/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func memory() bridge.Store { return store.NewMemory(store.Limits{}).Node("n") }

// listening serves the clients of a hub over a store, on a port of its own.
func listening(t *testing.T, log *slog.Logger, cfg HandlerConfig, hubConfig Config, s bridge.Store) (clients *Handler, addr string) {
	t.Helper()
	if _, err := s.Beat(t.Context()); err != nil {
		t.Fatal(err)
	}
	log = log.With("component", "gateway")
	clients = NewHandler(New(s, newIndex(), hubConfig, log), cfg, auth.NewMetrics(nil, nil, log), limit.NewRefusals(nil, log, Limits()...), log)
	sockets := sio.New(sio.Config{}, clients, log)
	clients.ServedBy(sockets)
	srv := httptest.NewServer(sockets)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(sockets.Close(ctx), s.Close()); err != nil {
			t.Error(err)
		}
		clients.Close()
		srv.Close()
	})
	return clients, srv.Listener.Addr().String()
}

// TestUnknownEvent: an event that the bridge does not have is answered, and the log has
// one line for all of them.
func TestUnknownEvent(t *testing.T) {
	t.Parallel()
	var log capture.Text
	_, addr := listening(t, slog.New(slog.NewTextHandler(&log, nil)), HandlerConfig{}, Config{}, memory())
	for _, event := range []string{`42["setUserID","u"]`, `42["refreshToken","t"]`, `42["toString"]`} {
		name := strings.Split(event, `"`)[1]
		siotest.Await(t, siotest.Raw(t, addr, event),
			`42["error",{"type":"UNKNOWN_EVENT","message":"The bridge has no event of this name","details":{"action":"`+name+`","socketId":"`)
	}
	siotest.Await(t, siotest.Raw(t, addr, `427["setUserID","u"]`), `437[{"error":"The bridge has no event of this name","code":"UNKNOWN_EVENT","timestamp":"`)
	if n := strings.Count(log.String(), "unknown event"); n != 1 || !strings.Contains(log.String(), `level=WARN msg="unknown event" component=gateway event=setUserID socket=`) {
		t.Errorf("%d lines:\n%s", n, log.String())
	}
}
