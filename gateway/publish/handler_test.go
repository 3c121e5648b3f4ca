package publish

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/goleak"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/auth"
	"github.com/codewar/socketbridge/gateway/limit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// onlyHere is a store in which the user "here" has a socket.
type onlyHere struct{}

func (onlyHere) Locate(_ context.Context, users []bridge.UserID) []bridge.Located {
	found := make([]bridge.Located, len(users))
	for i, user := range users {
		if user == "here" {
			found[i].Sockets = []bridge.Presence{{Socket: "s", Node: "n"}}
		}
	}
	return found
}

func pushed(context.Context, string, map[string][]string, []byte) (bridge.Receipt, error) {
	return bridge.Receipt{Outcome: bridge.Pushed, Sockets: 1, Offset: bridge.Offset{Epoch: 1, Seq: 2}}, nil
}

// newTestHandler makes a handler and its route.
func newTestHandler(t testing.TB, cfg Config, publisher Publisher) (*Handler, http.Handler) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	cfg.MaxBody = 4096
	if cfg.ReplyTimeout == 0 {
		cfg.ReplyTimeout = 50 * time.Millisecond
	}
	cfg.ChunkRate = 1 << 20
	cfg.AllowPage = func(*http.Request) bool { return true }
	cfg.ClientAddr = limit.Peer
	cfg.Local = func(bridge.UserID) bool { return false }
	h := New(cfg, onlyHere{}, publisher, auth.NewMetrics(cfg.APIKeys, nil, log), limit.NewRefusals(nil, log, Limits()...))
	e := echo.New()
	e.POST("/sendPayload", h.Send)
	return h, e
}

// call sends a JSON body.
func call(srv http.Handler, body string) (status int, m map[string]any) {
	r := httptest.NewRequest(http.MethodPost, "/sendPayload", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	srv.ServeHTTP(w, r)
	_ = json.Unmarshal(w.Body.Bytes(), &m)
	return w.Code, m
}

func statusOf(srv http.Handler, r *http.Request) int {
	w := httptest.NewRecorder()
	srv.ServeHTTP(w, r)
	return w.Code
}

// TestOfflineIsNotProved: while a node has sockets that the store does not know of, a user whom
// the store does not know may be connected, and the leader decides.
func TestOfflineIsNotProved(t *testing.T) {
	t.Parallel()
	for unproven, want := range map[bool]int{false: http.StatusNotFound, true: http.StatusOK} {
		h, srv := newTestHandler(t, Config{Unproven: func() bool { return unproven }}, pushed)
		if status, m := call(srv, `{"userId":"away","topic":"t"}`); status != want {
			t.Errorf("unproven %t: %d %v", unproven, status, m)
		}
		if calls := h.NotFoundCalls("away", 10); (len(calls) == 1) == unproven {
			t.Errorf("unproven %t: remembered %v", unproven, calls)
		}
	}
}

// TestReplyTimeout: a call waits for its receipt as long as it may, also when its caller has left.
func TestReplyTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const limit = 3 * time.Second
		began := time.Now()
		_, srv := newTestHandler(t, Config{ReplyTimeout: limit}, func(ctx context.Context, _ string, _ map[string][]string, _ []byte) (bridge.Receipt, error) {
			<-ctx.Done()
			if took := time.Since(began); took != limit || !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
				t.Errorf("the wait ended after %v: %v", took, context.Cause(ctx))
			}
			return bridge.Receipt{}, bridge.ErrNoReceipt
		})
		ctx, leave := context.WithCancel(t.Context())
		leave()
		r := httptest.NewRequest(http.MethodPost, "/sendPayload?queue=true", strings.NewReader(`{"userId":"u","topic":"t"}`))
		if status := statusOf(srv, r.WithContext(ctx)); status != http.StatusGatewayTimeout {
			t.Errorf("answered %d", status)
		}
	})
}
