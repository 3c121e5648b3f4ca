package gateway

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/codewar/socketbridge/internal/testutil/metricstest"
)

// pageRequests are requests as browsers, and other programs, make them of a bridge whose
// origins are https://app.example. Both transports and /sendPayload decide alike.
var pageRequests = []struct {
	name    string
	host    string
	tls     bool
	from    string // proxies are in 10.0.0.0/8
	header  []string
	allowed bool
}{
	{name: "a program", allowed: true},
	{name: "allowed", header: []string{"Origin", "https://app.example", "Sec-Fetch-Site", "cross-site"}, allowed: true},
	{name: "foreign", header: []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}},
	{name: "foreign, old browser", header: []string{"Origin", "https://evil.example"}},
	{name: "sandboxed", header: []string{"Origin", "null"}},
	{name: "two origins", header: []string{"Origin", "https://app.example", "Origin", "https://evil.example"}},
	{name: "cross-site without an Origin", header: []string{"Sec-Fetch-Site", "cross-site"}},
	{name: "same site without an Origin", header: []string{"Sec-Fetch-Site", "same-site"}},
	{name: "typed", header: []string{"Sec-Fetch-Site", "none"}, allowed: true},
	{name: "its own page", header: []string{"Origin", "http://bridge.example:3004", "Sec-Fetch-Site", "same-origin"}, allowed: true},
	{name: "its own page, GET", header: []string{"Sec-Fetch-Site", "same-origin"}, allowed: true},
	{name: "its own page, other case", header: []string{"Origin", "http://Bridge.Example:3004"}, allowed: true},
	{name: "its own page, TLS", tls: true, header: []string{"Origin", "https://bridge.example:3004"}, allowed: true},
	{name: "its own page, usual port", host: "bridge.example", header: []string{"Origin", "http://bridge.example"}, allowed: true},
	{name: "its own page, usual port spelled out", host: "bridge.example:80", header: []string{"Origin", "http://bridge.example"}, allowed: true},
	{name: "its own page, IPv6", host: "[::1]:3004", header: []string{"Origin", "http://[::1]:3004"}, allowed: true},
	{name: "its own page, IPv6, usual port", host: "[::1]", header: []string{"Origin", "http://[::1]"}, allowed: true},
	{name: "another scheme", header: []string{"Origin", "https://bridge.example:3004"}},
	{name: "another scheme, TLS", tls: true, header: []string{"Origin", "http://bridge.example:3004"}},
	{name: "another port", header: []string{"Origin", "http://bridge.example"}},
	{name: "a path behind it", header: []string{"Origin", "http://bridge.example:3004/x"}},
	{name: "a user before it", header: []string{"Origin", "http://x@bridge.example:3004"}},
	{name: "TLS ends at a proxy", host: "bridge.example", from: "10.0.0.1:5", header: []string{"Origin", "https://bridge.example", "X-Forwarded-Proto", "https"}, allowed: true},
	{name: "TLS ends at a stranger", host: "bridge.example", header: []string{"Origin", "https://bridge.example", "X-Forwarded-Proto", "https"}},
	{name: "Swift's websocket", header: []string{"Origin", "ws://bridge.example:3004"}, allowed: true},
	{name: "Swift's websocket, TLS at a proxy", host: "bridge.example", header: []string{"Origin", "wss://bridge.example"}, allowed: true},
	{name: "Swift's websocket, usual port", host: "bridge.example:80", header: []string{"Origin", "ws://bridge.example"}, allowed: true},
	{name: "a websocket elsewhere", header: []string{"Origin", "ws://other.example:3004"}},
	{name: "a name below ours", header: []string{"Origin", "https://app.example.evil.example"}},
}

// TestOrigins: which page may use the bridge, on each transport and at /sendPayload.
func TestOrigins(t *testing.T) {
	t.Parallel()
	cfg := Config{Origins: Origins{"https://app.example"}, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	reg := prometheus.NewRegistry()
	srv := countingServer(t, reg, cfg, contractStore{}, nil)
	for _, tt := range pageRequests {
		for target, wanted := range map[string]struct{ allowed, refused int }{
			"POST /sendPayload":                         {http.StatusOK, http.StatusForbidden},
			"GET /socket.io/?EIO=4&transport=polling":   {http.StatusOK, http.StatusForbidden},
			"GET /socket.io/?EIO=4&transport=websocket": {http.StatusInternalServerError, http.StatusForbidden}, // a recorder is no connection
		} {
			method, path, _ := strings.Cut(target, " ")
			r := httptest.NewRequest(method, path, strings.NewReader(`{"userId":"here","topic":"t"}`))
			r.Host, r.RemoteAddr = or(tt.host, "bridge.example:3004"), or(tt.from, "192.0.2.1:5")
			if tt.tls {
				r.TLS = new(tls.ConnectionState)
			}
			for i := 0; i < len(tt.header); i += 2 {
				r.Header.Add(tt.header[i], tt.header[i+1])
			}
			if method == http.MethodGet {
				r.Body, r.ContentLength = http.NoBody, 0
			}
			if strings.Contains(path, "websocket") {
				r.Header.Set("Connection", "Upgrade")
				r.Header.Set("Upgrade", "websocket")
				r.Header.Set("Sec-WebSocket-Version", "13")
				r.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
			}
			w := httptest.NewRecorder()
			srv.http.Handler.ServeHTTP(w, r)
			want := wanted.allowed
			if !tt.allowed {
				want = wanted.refused
			}
			if w.Code != want || method == http.MethodPost && !tt.allowed && !strings.Contains(w.Body.String(), "FORBIDDEN_ORIGIN") {
				t.Errorf("%s, %s: %d %s, want %d", tt.name, target, w.Code, w.Body, want)
			}
		}
	}
	if n := metricstest.Value(t, reg, "bridge_auth_total", "publish", "FORBIDDEN_ORIGIN"); n == 0 {
		t.Error("refusals are not counted")
	}
}

// TestOriginsAndKeys: a key decides alone: a browser adds none by itself.
func TestOriginsAndKeys(t *testing.T) {
	t.Parallel()
	ask := func(cfg Config, header ...string) int {
		cfg.Origins = Origins{"https://app.example"}
		srv := contractServer(t, cfg, contractStore{}, nil)
		r := httptest.NewRequest("POST", "/sendPayload", strings.NewReader(`{"userId":"here","topic":"t"}`))
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		return statusOf(srv.http.Handler, r)
	}
	if status := ask(Config{}, "Origin", "https://evil.example", "Authorization", "Bearer x"); status != http.StatusOK {
		t.Errorf("a key where none is needed: %d", status)
	}
	if status := ask(Config{}, "Origin", "https://evil.example", "Authorization", "Basic eDp5"); status != http.StatusForbidden {
		t.Errorf("what a browser adds by itself: %d", status)
	}
	if status := ask(Config{}, "Origin", "https://evil.example", "Cookie", "session=x"); status != http.StatusForbidden {
		t.Errorf("a cookie: %d", status)
	}
}
