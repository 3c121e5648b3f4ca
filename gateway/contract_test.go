package gateway

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/auth"
	"github.com/codewar/socketbridge/gateway/hub"
	"github.com/codewar/socketbridge/gateway/publish"
	"github.com/codewar/socketbridge/internal/testutil/contract"
	"github.com/codewar/socketbridge/store"
)

// TestContractsAreOpenAPI holds both documents against the official schema.
func TestContractsAreOpenAPI(t *testing.T) {
	t.Parallel()
	for _, text := range [][]byte{callersContract, operatorsContract} {
		contract.Open(t, text).Valid(t, "../e2e", "@seriousme/openapi-schema-validator/schemas/v3.1/schema.json")
	}
}

// contractServer is a server with everything that has a route.
func contractServer(t *testing.T, cfg Config, st contractStore, ask publish.Publisher) *Server {
	t.Helper()
	return countingServer(t, prometheus.NewRegistry(), cfg, st, ask)
}

// countingServer is a contractServer whose metrics can be read.
func countingServer(t *testing.T, reg *prometheus.Registry, cfg Config, st contractStore, ask publish.Publisher) *Server {
	t.Helper()
	log, s := slog.New(slog.DiscardHandler), store.NewMemory(store.Limits{}).Node("n")
	cfg.Publish.MaxBody, cfg.Publish.ReplyTimeout, cfg.Records = 4096, time.Second, st
	cfg.Sockets.Transports = []string{"websocket", "polling"}
	srv := NewServer(cfg, hub.New(s, newHistory(), hub.Config{}, log), st, orPushed(ask), nil, reg, log)
	t.Cleanup(func() {
		if err := srv.Shutdown(context.Background(), 0); err != nil {
			t.Error(err)
		}
	})
	return srv
}

// contractStore knows the user "here" and one delivery record, unless it is broken.
type contractStore struct{ broken bool }

func (s contractStore) Locate(_ context.Context, users []bridge.UserID) []bridge.Located {
	found := make([]bridge.Located, len(users))
	for i, user := range users {
		if user == "here" {
			found[i].Sockets = []bridge.Presence{{Socket: "s", Node: "n"}}
		}
	}
	return found
}

func (s contractStore) Record(_ context.Context, at bridge.Offset) (bridge.DeliveryRecord, error) {
	switch {
	case s.broken:
		return bridge.DeliveryRecord{}, errors.New("broken")
	case at.Seq != 1:
		return bridge.DeliveryRecord{}, bridge.ErrNoRecord
	}
	now := time.Now().UTC()
	return bridge.DeliveryRecord{
		Offset: at, Subject: "codewar.t", User: "here", Read: now, Settled: now, Outcome: bridge.Pushed,
		Nodes: []bridge.NodeDelivery{{Node: "n", Sockets: []bridge.SocketID{"s"}, Took: 1}},
	}, nil
}

// slowBody is a body that does not come in time.
type slowBody struct{}

func (slowBody) Read([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }

// TestAnswersAreAsTheContractsSay makes every answer that the callers' contract
// describes, but for the few that are named here with the test that makes them, and
// those of the operators' routes that are this package's.
func TestAnswersAreAsTheContractsSay(t *testing.T) {
	t.Parallel()
	key, entry := auth.NewAPIKey("judge")
	parsed, err := auth.ParseAPIKey(entry)
	if err != nil {
		t.Fatal(err)
	}
	keys := []auth.APIKey{parsed}
	settle := func(r bridge.Receipt, err error) publish.Publisher {
		return func(context.Context, string, map[string][]string, []byte) (bridge.Receipt, error) {
			r.Offset = bridge.Offset{Epoch: 1, Seq: 2}
			return r, err
		}
	}
	var (
		plain    = Config{OpsOnOwnListener: true, Profiles: true}
		onPublic = Config{}
		limited  = Config{Publish: publish.Config{CallsPerSecond: 1, CallBurst: 1}}
		keyed    = Config{OpsOnOwnListener: true, Profiles: true, Auth: AuthConfig{APIKeys: keys, OpsKeys: keys}}
		pushed   = bridge.Receipt{Outcome: bridge.Pushed, Sockets: 1}
		acked    = bridge.Receipt{Outcome: bridge.Pushed, Sockets: 2, Acks: new(1), AckMillis: 2.5}
	)
	const good = `{"userId":"here","topic":"t","a":1}`
	seen := make(map[string][]int)
	for _, tt := range []struct {
		operation string // as the contract spells it
		target    string // when it is not the operation's path
		body      any    // text or io.Reader
		status    int
		cfg       Config
		ask       publish.Publisher
		key       string
		broken    bool
		again     bool // the answer to the second call counts
		ready     bool
		kind      string // Content-Type of the request
	}{
		{operation: "POST /sendPayload", body: good, status: 200, ask: settle(pushed, nil)},
		{operation: "POST /sendPayload", body: good, status: 200, ask: settle(acked, nil), target: "/sendPayload?ack=client"},
		{operation: "POST /sendPayload", body: good, status: 200, ask: settle(pushed, nil), cfg: keyed, key: key},
		{operation: "POST /sendPayload", body: good, status: 202, ask: settle(bridge.Receipt{Outcome: bridge.Inboxed}, nil), target: "/sendPayload?queue=true"},
		{operation: "POST /sendPayload", body: `{"userId":"here"}`, status: 400},
		{operation: "POST /sendPayload", body: `{"userId":"here","topic":"t","a":1,"a":2}`, status: 400},
		{operation: "POST /sendPayload", body: "\xff", status: 400},
		{operation: "POST /sendPayload", body: good, status: 401, cfg: keyed},
		{operation: "POST /sendPayload", body: good, status: 401, cfg: keyed, key: "wrong"},
		{operation: "POST /sendPayload", body: `{"userId":"away","topic":"t"}`, status: 404},
		{operation: "POST /sendPayload", body: slowBody{}, status: 408},
		{operation: "POST /sendPayload", body: strings.Repeat("x", 5000), status: 413},
		{operation: "POST /sendPayload", body: good, status: 413, ask: settle(pushed, bridge.ErrTooLarge)},
		{operation: "POST /sendPayload", body: good, status: 415, kind: "text/plain"},
		{operation: "POST /sendPayload", body: good, status: 429, cfg: limited, again: true},
		{operation: "POST /sendPayload", body: good, status: 500, ask: settle(bridge.Receipt{Outcome: bridge.Dead}, nil)},
		{operation: "POST /sendPayload", body: good, status: 503, ask: settle(pushed, bridge.ErrUnavailable)},
		{operation: "POST /sendPayload", body: good, status: 504, ask: settle(pushed, bridge.ErrNoReceipt)},
		{operation: "GET /sendPayload", body: good, status: 200, ask: settle(pushed, nil)},
		{operation: "GET /socket.io/", target: "/socket.io/?EIO=4&transport=polling", status: 200},
		{operation: "GET /socket.io/", target: "/socket.io/?EIO=3&transport=polling", status: 400},
		{operation: "POST /socket.io/", target: "/socket.io/?EIO=4&transport=polling&sid=none", body: "3", status: 400},
		{operation: "GET /socket.io/{file}", target: "/socket.io/socket.io.js", status: 200},
		{operation: "GET /socket.io/{file}", target: "/socket.io/socket.io.js.map", status: 200},
		{operation: "GET /socket.io/{file}", target: "/socket.io/socket.io.css", status: 404},
		{operation: "HEAD /socket.io/{file}", target: "/socket.io/socket.io.js", status: 200},
		{operation: "HEAD /socket.io/{file}", target: "/socket.io/socket.io.css", status: 404},
		{operation: "GET /livez", status: 200},
		{operation: "GET /readyz", status: 200, ready: true},
		{operation: "GET /readyz", status: 503},
		{operation: "GET /openapi.json", status: 200},

		{operation: "GET /api/v1/openapi.json", status: 200, cfg: plain},
		{operation: "GET /metrics", status: 200, cfg: plain},
		{operation: "GET /metrics", status: 200, cfg: keyed, key: key},
		{operation: "GET /metrics", status: 401, cfg: keyed},
		{operation: "GET /metrics", status: 404, cfg: onPublic},
		{operation: "GET /messages/{offset}", target: "/messages/1-1", status: 200, cfg: plain},
		{operation: "GET /messages/{offset}", target: "/messages/x", status: 400, cfg: plain},
		{operation: "GET /messages/{offset}", target: "/messages/1-2", status: 404, cfg: plain},
		{operation: "GET /messages/{offset}", target: "/messages/1-1", status: 401, cfg: keyed, key: "wrong"},
		{operation: "GET /messages/{offset}", target: "/messages/1-1", status: 503, cfg: plain, broken: true},
		{operation: "GET /debug/pprof/{name}", target: "/debug/pprof/", status: 200, cfg: plain},
		{operation: "GET /debug/pprof/{name}", target: "/debug/pprof/heap", status: 200, cfg: plain},
		{operation: "GET /debug/pprof/{name}", target: "/debug/pprof/heap", status: 200, cfg: keyed, key: key},
		{operation: "GET /debug/pprof/{name}", target: "/debug/pprof/heap", status: 401, cfg: keyed},
	} {
		srv := contractServer(t, tt.cfg, contractStore{tt.broken}, tt.ask)
		if tt.ready {
			srv.SetReady()
		}
		method, path, _ := strings.Cut(tt.operation, " ")
		text, handler := callersContract, srv.http.Handler
		if operatorsOnly := contract.Open(t, operatorsContract).Statuses(method, path) != nil && contract.Open(t, callersContract).Statuses(method, path) == nil; operatorsOnly {
			text = operatorsContract
			if tt.cfg.OpsOnOwnListener {
				handler = srv.ops.Handler
			}
		}
		w := httptest.NewRecorder()
		for range 2 {
			var body io.Reader = strings.NewReader("")
			switch b := tt.body.(type) {
			case string:
				body = strings.NewReader(b)
			case io.Reader:
				body = b
			}
			r := httptest.NewRequest(method, or(tt.target, path), body)
			r.Header.Set("Content-Type", or(tt.kind, "application/json"))
			if tt.key != "" {
				r.Header.Set("Authorization", "Bearer "+tt.key)
			}
			w = httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if !tt.again {
				break
			}
		}
		if w.Code != tt.status {
			t.Errorf("%s: %d %s, want %d", tt.operation, w.Code, w.Body, tt.status)
			continue
		}
		if err := contract.Open(t, text).Answer(method, path, w.Result(), w.Body.Bytes()); err != nil {
			t.Error(err)
		}
		seen[tt.operation] = append(seen[tt.operation], tt.status)
	}
	elsewhere := map[string][]int{ // whose tests are
		"POST /sendPayload":      {403},                                                        // package main, with tokens
		"GET /sendPayload":       {202, 400, 401, 403, 404, 408, 413, 415, 429, 500, 503, 504}, // the handler is the one of POST
		"GET /socket.io/":        {101, 403, 413, 429, 503},                                    // gateway/sio
		"POST /socket.io/":       {101, 200, 403, 413, 429, 503},
		"GET /socket.io/{file}":  {304}, // TestClientFiles
		"HEAD /socket.io/{file}": {304},
	}
	doc := contract.Open(t, callersContract)
	for _, operation := range doc.Operations() {
		method, path, _ := strings.Cut(operation, " ")
		for _, status := range doc.Statuses(method, path) {
			if !slices.Contains(seen[operation], status) && !slices.Contains(elsewhere[operation], status) {
				t.Errorf("%s: no test makes the %d that the contract describes", operation, status)
			}
		}
	}
}
