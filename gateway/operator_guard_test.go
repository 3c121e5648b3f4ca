package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/codewar/socketbridge/gateway/auth"
	"github.com/codewar/socketbridge/gateway/hub"
	"github.com/codewar/socketbridge/store"
)

// operatorsServer is a server with the operators' routes of the gateway.
func operatorsServer(t *testing.T, cfg Config) *Server {
	t.Helper()
	log, st := slog.New(slog.DiscardHandler), store.NewMemory(store.Limits{}).Node("n")
	srv := NewServer(cfg, hub.New(st, newHistory(), hub.Config{}, log), st, pushed, nil, prometheus.NewRegistry(), log)
	t.Cleanup(func() {
		if err := srv.Shutdown(context.Background(), 0); err != nil {
			t.Error(err)
		}
	})
	return srv
}

// local is a request that a program on this machine sends.
func local(method, path string) *http.Request {
	r := httptest.NewRequest(method, "http://localhost:3004"+path, http.NoBody)
	r.RemoteAddr = "127.0.0.1:5"
	return r
}

func statusOf(h http.Handler, r *http.Request) int {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}

// TestProxiedIsNotFromHere: in a plain development start the routes are for programs on
// this machine. Each sign of a proxy, alone and also empty, ends that.
func TestProxiedIsNotFromHere(t *testing.T) {
	t.Parallel()
	srv := operatorsServer(t, Config{Development: true})
	if status := statusOf(srv.http.Handler, local("GET", "/metrics")); status != http.StatusOK {
		t.Fatalf("a program on this machine: %d", status)
	}
	for _, name := range []string{
		"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Server", "X-Forwarded-Prefix",
		"X-Forwarded", "X-Forwarder-For", "X-Real-IP", "Via", "CF-Connecting-IP", "CF-Ray", "CF-Visitor", "True-Client-IP", "X-Client-IP", "Client-IP",
		"X-Cluster-Client-IP", "X-Original-For", "X-Original-Host", "X-Original-URI", "X-Original-URL", "X-Rewrite-URL", "X-ProxyUser-Ip",
		"Fastly-Client-IP", "Fly-Client-IP", "X-Azure-ClientIP", "X-Envoy-External-Address", "X-Amzn-Trace-Id", "X-Amz-Cf-Id", "X-Appengine-User-IP",
		"X-ARR-LOG-ID", "WL-Proxy-Client-IP", "Proxy-Client-IP", "X-Remote-IP", "X-Remote-Addr", "X-Host", "CDN-Loop", "Front-End-Https", "X-Varnish",
	} {
		for _, spelled := range []string{name, strings.ReplaceAll(name, "-", "_")} {
			for _, value := range []string{"", "192.0.2.1", "127.0.0.1", "localhost"} {
				r := local("GET", "/metrics")
				r.Header[http.CanonicalHeaderKey(spelled)] = []string{value}
				if status := statusOf(srv.http.Handler, r); status != http.StatusNotFound {
					t.Errorf("%s: %q: %d, want 404", spelled, value, status)
				}
			}
		}
	}
	r := local("GET", "/metrics")
	r.Proto, r.ProtoMinor = "HTTP/1.0", 0 // as nginx asks its upstreams by default
	if status := statusOf(srv.http.Handler, r); status != http.StatusNotFound {
		t.Errorf("HTTP/1.0: %d, want 404", status)
	}
	for _, host := range []string{"", "evil.example", "evil.example:3004", "localhost.evil.example", "192.0.2.1", "10.0.0.1:3004", "0.0.0.0:3004", "127.0.0.1.evil.example", "localhost@evil.example"} {
		r := local("GET", "/metrics")
		r.Host = host
		if status := statusOf(srv.http.Handler, r); status != http.StatusForbidden {
			t.Errorf("Host %q: %d, want 403", host, status)
		}
	}
	for _, header := range []string{"User-Agent", "Accept", "Cookie", "Cache-Control", "X-Request-Id", "Traceparent", "X-Requested-With", "Priority"} {
		r := local("GET", "/metrics")
		r.Header.Set(header, "x")
		if status := statusOf(srv.http.Handler, r); status != http.StatusOK {
			t.Errorf("%s, which programs send themselves: %d, want 200", header, status)
		}
	}
	r = local("GET", "/metrics")
	r.RemoteAddr = "192.0.2.1:5"
	if status := statusOf(srv.http.Handler, r); status != http.StatusNotFound {
		t.Errorf("from elsewhere: %d, want 404", status)
	}
}

// TestReboundNameWithProxyHeader: a page under a name that was rebound to this machine
// can add headers of a proxy; it reaches the operators' own listener no more for that.
func TestReboundNameWithProxyHeader(t *testing.T) {
	t.Parallel()
	srv := operatorsServer(t, Config{OpsOnOwnListener: true})
	for _, header := range []string{"", "X-Forwarded-For", "Forwarded", "Via"} {
		r := local("GET", "/metrics")
		r.Host = "evil.example:3005"
		if header != "" {
			r.Header.Set(header, "192.0.2.1")
		}
		if status := statusOf(srv.ops.Handler, r); status != http.StatusForbidden {
			t.Errorf("rebound name with %q: %d, want 403", header, status)
		}
	}
}

// TestKeysAreForAll: where there are keys, no client is served without one: not this
// machine, and not on the operators' own listener.
func TestKeysAreForAll(t *testing.T) {
	t.Parallel()
	key, entry := auth.NewAPIKey("me")
	k, err := auth.ParseAPIKey(entry)
	if err != nil {
		t.Fatal(err)
	}
	for _, cfg := range []Config{{Development: true}, {}, {OpsOnOwnListener: true}} {
		cfg.Auth.OpsKeys = []auth.APIKey{k}
		srv := operatorsServer(t, cfg)
		handler := srv.http.Handler
		if cfg.OpsOnOwnListener {
			handler = srv.ops.Handler
		}
		if status := statusOf(handler, local("GET", "/metrics")); status != http.StatusUnauthorized {
			t.Errorf("%+v: without a key: %d", cfg, status)
		}
		r := local("GET", "/metrics")
		r.Header.Set("X-API-Key", key)
		if status := statusOf(handler, r); status != http.StatusOK {
			t.Errorf("%+v: with the key: %d", cfg, status)
		}
	}
}

// TestOperatorsRoutesHaveNoCORS: no page of another origin may read any of them, by any
// method, also where the public listener has them.
func TestOperatorsRoutesHaveNoCORS(t *testing.T) {
	t.Parallel()
	srv := operatorsServer(t, Config{Development: true})
	_, routes := operatorsServer(t, Config{OpsOnOwnListener: true}).Routes()
	n := 0
	for _, route := range routes {
		if route.Path == "/livez" || route.Path == "/readyz" || strings.HasPrefix(route.Path, "/debug/") { // public, or never on this listener
			continue
		}
		n++
		path := strings.NewReplacer(":offset", "1-1", ":id", "u", "*", "x").Replace(route.Path)
		for _, method := range []string{route.Method, http.MethodOptions, http.MethodDelete} {
			r := local(method, path)
			r.Header.Set("Origin", "https://evil.example")
			r.Header.Set("Access-Control-Request-Method", route.Method)
			w := httptest.NewRecorder()
			srv.http.Handler.ServeHTTP(w, r)
			if got := w.Header().Get("Access-Control-Allow-Origin"); got != "" || w.Code == http.StatusOK {
				t.Errorf("%s %s: %d, may be read by %q", method, path, w.Code, got)
			}
		}
	}
	if n < 4 {
		t.Errorf("looked at %d routes only", n)
	}
}

// TestReadyzTellsOperatorsWhy: the reasons of /readyz name internal addresses, so only
// operators see them. Others see which check failed.
func TestReadyzTellsOperatorsWhy(t *testing.T) {
	t.Parallel()
	key, entry := auth.NewAPIKey("me")
	k, err := auth.ParseAPIKey(entry)
	if err != nil {
		t.Fatal(err)
	}
	keys := AuthConfig{OpsKeys: []auth.APIKey{k}}
	for _, tt := range []struct {
		name   string
		cfg    Config
		own    bool // asked on the operators' listener
		header string
		value  string
		why    bool
	}{
		{name: "development, this machine", cfg: Config{Development: true}, why: true},
		{name: "development, proxied", cfg: Config{Development: true}, header: "X-Forwarded-For"},
		{name: "no routes"},
		{name: "own listener, public", cfg: Config{OpsOnOwnListener: true}},
		{name: "own listener", cfg: Config{OpsOnOwnListener: true}, own: true, why: true},
		{name: "own listener, keys", cfg: Config{OpsOnOwnListener: true, Auth: keys}, own: true},
		{name: "own listener, with the key", cfg: Config{OpsOnOwnListener: true, Auth: keys}, own: true, header: "X-API-Key", value: key, why: true},
		{name: "keys", cfg: Config{Auth: keys}},
		{name: "with the key", cfg: Config{Auth: keys}, header: "X-API-Key", value: key, why: true},
	} {
		srv := operatorsServer(t, tt.cfg)
		srv.SetReady()
		srv.health.checks = []Check{{Name: "nats", Err: func(context.Context) error { return errors.New("dial tcp 10.0.0.5:4222: refused") }}}
		handler := srv.http.Handler
		if tt.own {
			handler = srv.ops.Handler
		}
		r := local("GET", "/readyz")
		if tt.header != "" {
			r.Header.Set(tt.header, tt.value)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if body := w.Body.String(); w.Code != http.StatusServiceUnavailable || !strings.Contains(body, `"nats"`) || strings.Contains(body, "10.0.0.5") != tt.why {
			t.Errorf("%s: %d %s, want the reason: %v", tt.name, w.Code, body, tt.why)
		}
	}
}
