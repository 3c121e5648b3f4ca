package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/bridge/bridgetest"
	"github.com/codewar/socketbridge/gateway/apierror"
	"github.com/codewar/socketbridge/gateway/hub"
	"github.com/codewar/socketbridge/gateway/publish"
	"github.com/codewar/socketbridge/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newHistory is the history of an empty stream of epoch 1.
func newHistory() bridge.History {
	x := bridge.NewIndex(bridge.IndexConfig{TTL: time.Hour, MaxPerUser: 1000, MaxMemory: 1 << 30})
	x.Begin(bridge.Offset{Epoch: 1})
	return bridgetest.History{Index: x}
}

// newTestServer is a server over a memory store where "here" has a socket on another node.
func newTestServer(t testing.TB, ask publish.Publisher) *Server {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	s := store.NewMemory(store.Limits{}).Node("n")
	if _, err := s.Beat(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Register(context.Background(), bridge.Registration{User: "here", Socket: "s", Token: "t"}); err != nil {
		t.Fatal(err)
	}
	srv := NewServer(Config{Publish: publish.Config{MaxBody: 4096, ReplyTimeout: 50 * time.Millisecond}}, hub.New(s, newHistory(), hub.Config{}, log), s, ask, nil, prometheus.NewRegistry(), log)
	t.Cleanup(func() {
		if err := srv.Shutdown(context.Background(), 0); err != nil {
			t.Error(err)
		}
	})
	return srv
}

func pushed(context.Context, string, map[string][]string, []byte) (bridge.Receipt, error) {
	return bridge.Receipt{Outcome: bridge.Pushed, Sockets: 1, Offset: bridge.Offset{Epoch: 1, Seq: 2}}, nil
}

func answer(srv *Server, method, target, contentType, body string) (status int, m map[string]any) {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	w := httptest.NewRecorder()
	srv.http.Handler.ServeHTTP(w, r)
	_ = json.Unmarshal(w.Body.Bytes(), &m)
	return w.Code, m
}

func TestSendPayload(t *testing.T) {
	t.Parallel()
	const good = `{"userId":"here","topic":"t","a":1}`
	fail := func(err error) publish.Publisher {
		return func(context.Context, string, map[string][]string, []byte) (bridge.Receipt, error) {
			return bridge.Receipt{}, err
		}
	}
	settle := func(o bridge.Outcome) publish.Publisher {
		return func(context.Context, string, map[string][]string, []byte) (bridge.Receipt, error) {
			return bridge.Receipt{Outcome: o, Offset: bridge.Offset{Epoch: 1, Seq: 2}}, nil
		}
	}
	unsure := func(context.Context, string, map[string][]string, []byte) (bridge.Receipt, error) {
		return bridge.Receipt{Outcome: bridge.Inboxed, Unsure: true, Offset: bridge.Offset{Epoch: 1, Seq: 2}}, nil
	}
	for _, tt := range []struct {
		name, method, target, contentType, body string
		ask                                     publish.Publisher
		status                                  int
		code, text                              string // of the error, or the message
	}{
		{name: "taken", body: good, status: 200, text: "Payload sent successfully"},
		{name: "taken, by GET", method: "GET", body: good, status: 200, text: "Payload sent successfully"},
		{name: "no content type", contentType: "none", body: good, status: 200, text: "Payload sent successfully"},
		{name: "JSON with a parameter", contentType: "application/json; charset=utf-8", body: good, status: 200, text: "Payload sent successfully"},
		{name: "only user and topic", body: `{"userId":"here","topic":"t"}`, status: 200, text: "Payload sent successfully"},
		{name: "every socket had it", body: good, ask: settle(bridge.Duplicate), status: 200, text: "Payload sent successfully"},
		{name: "nobody there", body: `{"userId":"away","topic":"t"}`, status: 404, code: "USER_NOT_FOUND", text: "User not connected"},
		{name: "left meanwhile", body: good, ask: settle(bridge.Offline), status: 404, code: "USER_NOT_FOUND", text: "User not connected"},
		{name: "queued", target: "/sendPayload?queue=true", body: `{"userId":"away","topic":"t"}`, ask: settle(bridge.Inboxed), status: 202, text: "Payload queued"},
		{name: "no user", body: `{"topic":"t"}`, status: 400, code: "MISSING_FIELDS", text: "Missing topic, payload or userId"},
		{name: "no topic", body: `{"userId":"here"}`, status: 400, code: "MISSING_FIELDS", text: "Missing topic, payload or userId"},
		{name: "empty body", status: 400, code: "INVALID_JSON", text: "Missing topic, payload or userId"},
		{name: "array", body: `[]`, status: 400, code: "NOT_AN_OBJECT", text: "Missing topic, payload or userId"},
		{name: "reserved topic", body: `{"userId":"here","topic":"connect"}`, status: 400, code: "INVALID_TOPIC"},
		{name: "control character", body: `{"userId":"he\nre","topic":"t"}`, status: 400, code: "INVALID_USER_ID"},
		{name: "form", contentType: "application/x-www-form-urlencoded", body: good, status: 415, code: "UNSUPPORTED_MEDIA_TYPE"},
		{name: "too large", body: `{"userId":"here","topic":"t","a":"` + strings.Repeat("x", 5000) + `"}`, status: 413, code: "PAYLOAD_TOO_LARGE"},
		{name: "too large for the bus", body: good, ask: fail(bridge.ErrTooLarge), status: 413, code: "PAYLOAD_TOO_LARGE"},
		{name: "bus away", body: good, ask: fail(bridge.ErrUnavailable), status: 503, code: "SERVICE_UNAVAILABLE"},
		{name: "unsure", body: good, ask: unsure, status: 504, code: "REPLY_TIMEOUT", text: "No answer in time; the message is stored and may still arrive"},
		{name: "no receipt", body: good, ask: fail(bridge.ErrNoReceipt), status: 504, code: "REPLY_TIMEOUT"},
		{name: "wrong method", method: "PUT", body: good, status: 405, code: "METHOD_NOT_ALLOWED"},
		{name: "wrong route", target: "/nothing", body: good, status: 404, code: "NOT_FOUND"},
		{name: "panic", body: good, ask: func(context.Context, string, map[string][]string, []byte) (bridge.Receipt, error) { panic("oh") }, status: 500, code: "INTERNAL_ERROR"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv := newTestServer(t, orPushed(tt.ask))
			contentType := strings.TrimPrefix(or(tt.contentType, "application/json"), "none")
			status, m := answer(srv, or(tt.method, "POST"), or(tt.target, "/sendPayload"), contentType, tt.body)
			if status != tt.status {
				t.Fatalf("status %d %v, want %d", status, m, tt.status)
			}
			if tt.code == "" {
				if m["message"] != tt.text {
					t.Errorf("got %v, want message %q", m, tt.text)
				}
				return
			}
			if m["code"] != tt.code || tt.text != "" && m["error"] != tt.text {
				t.Errorf("got %v, want code %s, error %q", m, tt.code, tt.text)
			}
			if at, err := time.Parse(time.RFC3339, m["timestamp"].(string)); err != nil || at.Location() != time.UTC {
				t.Errorf("timestamp %v is not RFC 3339 in UTC", m["timestamp"])
			}
			details, _ := m["details"].(map[string]any)
			if _, has := details["userId"]; !has || details["action"] != "sendPayload" {
				t.Errorf("details %v lack userId or action", details)
			}
		})
	}
}

func or(s, instead string) string {
	if s == "" {
		return instead
	}
	return s
}

func orPushed(ask publish.Publisher) publish.Publisher {
	if ask == nil {
		return pushed
	}
	return ask
}

// A caller who does not ask for queueing must never see the message arrive after a 404.
func TestSendPayloadAsksNotToKeep(t *testing.T) {
	t.Parallel()
	var headers []map[string][]string
	srv := newTestServer(t, func(ctx context.Context, _ string, h map[string][]string, _ []byte) (bridge.Receipt, error) {
		headers = append(headers, h)
		return pushed(ctx, "", nil, nil)
	})
	answer(srv, "POST", "/sendPayload", "application/json", `{"userId":"here","topic":"t"}`)
	answer(srv, "POST", "/sendPayload?queue=true", "application/json", `{"userId":"here","topic":"t"}`)
	answer(srv, "POST", "/sendPayload?ack=client", "application/json", `{"userId":"here","topic":"t"}`)
	want := []map[string][]string{
		{bridge.HeaderOffline: {bridge.OfflineDrop}},
		{},
		{bridge.HeaderOffline: {bridge.OfflineDrop}, bridge.HeaderAck: {bridge.AckClient}},
	}
	if d := cmp.Diff(want, headers); d != "" {
		t.Errorf("headers (-want +got):\n%s", d)
	}
}

// Calls in hand get their answer before the intake may stop; new ones are refused.
func TestDrainPayloads(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	srv := newTestServer(t, func(context.Context, string, map[string][]string, []byte) (bridge.Receipt, error) {
		close(entered)
		<-release
		return bridge.Receipt{Outcome: bridge.Pushed}, nil
	})
	const body = `{"userId":"here","topic":"t"}`
	inHand := make(chan int)
	go func() {
		status, _ := answer(srv, "POST", "/sendPayload", "application/json", body)
		inHand <- status
	}()
	<-entered
	drained := make(chan error)
	go func() { drained <- srv.DrainPayloads(context.Background()) }()
	for {
		if status, m := answer(srv, "POST", "/sendPayload", "application/json", `{`); status == http.StatusServiceUnavailable {
			if m["code"] != apierror.ShuttingDown {
				t.Errorf("refused with %v", m)
			}
			break
		}
	}
	select {
	case <-drained:
		t.Error("drained while a call was in hand")
	default:
	}
	close(release)
	if status := <-inHand; status != http.StatusOK {
		t.Errorf("the call in hand got %d", status)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

func TestReadyNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	srv := newTestServer(t, pushed)
	srv.health.checks = []Check{
		{Name: "nats", Err: func(context.Context) error { return errors.New("dial tcp 10.0.0.5:4222: refused") }},
		{Name: "store", Err: func(context.Context) error { return nil }},
	}
	srv.SetReady()
	status, m := answer(srv, "GET", "/readyz", "", "")
	if d := cmp.Diff(map[string]any{"ready": false, "reasons": map[string]any{"nats": "failed"}}, m); status != 503 || d != "" {
		t.Errorf("%d (-want +got):\n%s", status, d)
	}
	if status, _ := answer(srv, "GET", "/livez", "", ""); status != 200 {
		t.Errorf("/livez answers %d", status)
	}

	// What only degrades a node does not take it out of the balancer.
	srv.health.checks = []Check{{Name: "store", Degrades: true, Err: func(context.Context) error { return errors.New("away") }}}
	status, m = answer(srv, "GET", "/readyz", "", "")
	if d := cmp.Diff(map[string]any{"ready": true, "reasons": map[string]any{}, "degraded": map[string]any{"store": "failed"}}, m); status != 200 || d != "" {
		t.Errorf("degraded: %d (-want +got):\n%s", status, d)
	}
}

// TestSendPaths: the route is found where Express finds it.
func TestSendPaths(t *testing.T) {
	t.Parallel()
	srv := newTestServer(t, pushed)
	for path, status := range map[string]int{
		"/sendPayload": 200, "/sendPayload/": 200, "/SendPayload": 200, "/SENDPAYLOAD/": 200, "/sendpayload?queue=true": 200,
		"/sendPayload//": 404, "//sendPayload": 404, "/send%50ayload": 404, "/%C5%BFendPayload": 404, "/sendPayloads": 404, "/sendPayload/x": 404,
	} {
		if got, _ := answer(srv, "POST", path, "application/json", `{"userId":"here","topic":"t"}`); got != status {
			t.Errorf("%s: %d, want %d", path, got, status)
		}
	}
}

// What happened to a message is told on this machine only, unless operators have a
// listener of their own.
func TestTraceIsForOperators(t *testing.T) {
	t.Parallel()
	srv := operatorsServer(t, Config{Development: true})
	for _, tt := range []struct {
		name, from, forwarded, code string
		status                      int
	}{
		{"here", "127.0.0.1:5", "", "INVALID_OFFSET", 400},
		{"here, IPv6", "[::1]:5", "", "INVALID_OFFSET", 400},
		{"elsewhere", "192.0.2.1:5", "", "NOT_FOUND", 404},
		{"through a proxy here", "127.0.0.1:5", "192.0.2.1", "NOT_FOUND", 404},
	} {
		r := httptest.NewRequest("GET", "http://localhost:3004/messages/x", nil)
		r.RemoteAddr = tt.from
		if tt.forwarded != "" {
			r.Header.Set("X-Forwarded-For", tt.forwarded)
		}
		w := httptest.NewRecorder()
		srv.http.Handler.ServeHTTP(w, r)
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.code) {
			t.Errorf("%s: %d %s, want %d %s", tt.name, w.Code, w.Body, tt.status, tt.code)
		}
	}
}

// TestProfilesNeedAListenerOfTheirOwn: a profile costs time and shows the inside of the
// process, so it is served only where it was asked for, and never on the public listener.
func TestProfilesNeedAListenerOfTheirOwn(t *testing.T) {
	t.Parallel()
	for _, cfg := range []Config{{}, {Profiles: true}, {OpsOnOwnListener: true}, {OpsOnOwnListener: true, Profiles: true}} {
		log, s := slog.New(slog.DiscardHandler), store.NewMemory(store.Limits{}).Node("n")
		srv := NewServer(cfg, hub.New(s, newHistory(), hub.Config{}, log), s, pushed, nil, prometheus.NewRegistry(), log)
		t.Cleanup(func() { _ = srv.Shutdown(context.Background(), 0) })
		for listener, handler := range map[string]http.Handler{"public": srv.http.Handler, "operators": srv.ops.Handler} {
			want := http.StatusNotFound
			if cfg.OpsOnOwnListener && cfg.Profiles && listener == "operators" {
				want = http.StatusOK
			}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequest("GET", "/debug/pprof/goroutine?debug=1", nil))
			if w.Code != want {
				t.Errorf("own listener %v, profiles %v, on the %s one: %d, want %d", cfg.OpsOnOwnListener, cfg.Profiles, listener, w.Code, want)
			}
		}
	}
}

func FuzzSendPayload(f *testing.F) {
	for _, s := range []string{`{"userId":"here","topic":"t","a":1}`, `{"userId":"away","topic":"t"}`, `[]`, ``, `{"userId":{}}`} {
		f.Add([]byte(s), "application/json")
	}
	srv := newTestServer(f, pushed)
	f.Fuzz(func(t *testing.T, body []byte, contentType string) {
		r := httptest.NewRequest("POST", "/sendPayload", bytes.NewReader(body))
		r.Header["Content-Type"] = []string{contentType}
		w := httptest.NewRecorder()
		srv.http.Handler.ServeHTTP(w, r)
		if !slices.Contains([]int{200, 400, 404, 413, 415}, w.Code) {
			t.Errorf("status %d for %q", w.Code, body)
		}
		var m map[string]any
		if b, err := io.ReadAll(w.Body); err != nil || json.Unmarshal(b, &m) != nil {
			t.Errorf("answer %q (%v)", b, err)
		}
		if w.Code != 200 && m["code"] == "" {
			t.Errorf("no code in %v", m)
		}
	})
}

// BenchmarkSendPayload is a call without the network and without the bus.
func BenchmarkSendPayload(b *testing.B) {
	srv := newTestServer(b, pushed)
	body := `{"userId":"here","topic":"t","text":"` + strings.Repeat("x", 150) + `"}`
	r := httptest.NewRequest(http.MethodPost, "/sendPayload", nil)
	r.ContentLength = int64(len(body))
	r.Header.Set("Content-Type", "application/json")
	w := &discarded{header: make(http.Header)}
	b.ReportAllocs()
	for b.Loop() {
		r.Body = io.NopCloser(strings.NewReader(body))
		delete(r.Header, "X-Request-Id")
		clear(w.header)
		srv.http.Handler.ServeHTTP(w, r)
	}
	if w.status != http.StatusOK {
		b.Errorf("status %d", w.status)
	}
}

// discarded is an answer that nobody reads.
type discarded struct {
	header http.Header
	status int
}

func (d *discarded) Header() http.Header         { return d.header }
func (d *discarded) Write(b []byte) (int, error) { return len(b), nil }
func (d *discarded) WriteHeader(status int)      { d.status = status }
