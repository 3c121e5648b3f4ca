package app_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/codewar/socketbridge/gateway/auth"
	"github.com/codewar/socketbridge/gateway/siotest"
	"github.com/codewar/socketbridge/internal/testutil/launch"
)

// request asks with headers as a browser, or somebody else, would send them. "Host"
// is the name under which the program is asked.
func (p *program) request(t testing.TB, method, path string, header ...string) (status int, h http.Header, body string) {
	t.Helper()
	var content io.Reader = http.NoBody
	if method == http.MethodPost {
		content = strings.NewReader("{}")
	}
	r, err := http.NewRequestWithContext(t.Context(), method, p.URL+path, content)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
			continue
		}
		r.Header.Set(header[i], header[i+1])
	}
	res, err := launch.Client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, res.Header, string(b)
}

func basic(key string) string {
	r := &http.Request{Header: http.Header{}}
	r.SetBasicAuth("me", key)
	return r.Header.Get("Authorization")
}

// TestOperatorsGuard: whatever a hostile page in an operator's browser tries, it
// neither reads nor does anything; the operator and programs are let in.
func TestOperatorsGuard(t *testing.T) {
	key, entry := auth.NewAPIKey("me")
	host := func(p *program) string { return strings.TrimPrefix(p.URL, "http://") }
	type tests = []struct {
		name   string
		status int
		code   string
		header []string
	}
	check := func(t *testing.T, p *program, tests tests) {
		t.Helper()
		for _, tt := range tests {
			for _, ask := range [][2]string{{"GET", "/api/v1/cluster"}, {"GET", "/metrics"}, {"GET", "/console/socket.io/?EIO=4&transport=polling"}, {"POST", "/api/v1/send"}} {
				want := tt.status
				if want == 200 && ask[0] == "POST" {
					want = 400 // let in: the body is empty
				}
				status, h, body := p.request(t, ask[0], ask[1], tt.header...)
				if status != want || !strings.Contains(body, tt.code) {
					t.Errorf("%s, %s: %d %.200s, want %d %s", tt.name, ask[1], status, body, want, tt.code)
				}
				if h.Get("Access-Control-Allow-Origin") != "" {
					t.Errorf("%s, %s: another origin may read it", tt.name, ask[1])
				}
			}
		}
	}
	p := startProgram(t)
	check(t, p, tests{
		{"a program", 200, "", nil},
		{"localhost", 200, "", []string{"Host", "localhost:3004"}},
		{"IPv6", 200, "", []string{"Host", "[::1]:3004"}},
		{"its own page", 200, "", []string{"Origin", "http://" + host(p), "Sec-Fetch-Site", "same-origin"}},
		{"typed into the browser", 200, "", []string{"Sec-Fetch-Site", "none"}},
		{"foreign page", 403, "FORBIDDEN_ORIGIN", []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}},
		{"foreign page, old browser", 403, "FORBIDDEN_ORIGIN", []string{"Origin", "https://evil.example"}},
		{"sandboxed page", 403, "FORBIDDEN_ORIGIN", []string{"Origin", "null"}},
		{"foreign image or form", 403, "FORBIDDEN_ORIGIN", []string{"Sec-Fetch-Site", "cross-site"}},
		{"another port of this machine", 403, "FORBIDDEN_ORIGIN", []string{"Origin", "http://127.0.0.1:1", "Sec-Fetch-Site", "same-site"}},
		{"rebound name", 403, "FORBIDDEN_HOST", []string{"Host", "evil.example:3004", "Origin", "http://evil.example:3004", "Sec-Fetch-Site", "same-origin"}},
		{"rebound name that looks like ours", 403, "FORBIDDEN_HOST", []string{"Host", "localhost.evil.example"}},
		{"from elsewhere", 404, "NOT_FOUND", []string{"X-Forwarded-For", "192.0.2.1"}},
	})
	p.metric(t, `bridge_auth_total{kind="operator",result="FORBIDDEN_HOST"} 8`)
	for _, path := range []string{"/messages/1-1", "/api/v1/openapi.json", "/api/v1/users", "/api/v1/users/u", "/api/v1/logs", "/api/v1/loglevel", "/api/v1/dead", "/console", "/console/x.js"} {
		for _, method := range []string{"GET", "OPTIONS"} {
			status, h, body := p.request(t, method, path, "Origin", "https://evil.example", "Access-Control-Request-Method", "GET")
			if h.Get("Access-Control-Allow-Origin") != "" || status == http.StatusOK {
				t.Errorf("foreign page, %s %s: %d %.100s, %v", method, path, status, body, h)
			}
		}
	}
	p.Stop()
	<-p.Status

	p = startProgram(t, "--set", "ops.keys="+entry)
	check(t, p, tests{
		{"this machine without a key", 401, "UNAUTHORIZED", nil},
		{"foreign page without a key", 401, "UNAUTHORIZED", []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}},
		{"key in a header", 200, "", []string{"X-API-Key", key, "Host", "ops.example", "X-Forwarded-For", "192.0.2.1"}},
		{"key that was typed", 200, "", []string{"Authorization", basic(key), "Host", "ops.example", "Origin", "https://ops.example", "X-Forwarded-For", "192.0.2.1"}},
		{"key that was typed, foreign page", 403, "FORBIDDEN_ORIGIN", []string{"Authorization", basic(key), "Host", "ops.example", "Origin", "https://evil.example", "X-Forwarded-For", "192.0.2.1"}},
		{"wrong key", 401, "INVALID_API_KEY", []string{"Authorization", basic("x"), "X-Forwarded-For", "192.0.2.1"}},
		{"no key", 401, "UNAUTHORIZED", []string{"X-Forwarded-For", "192.0.2.1"}},
	})
	p.Stop()
	<-p.Status

	ops := launch.FreeAddr(t)
	public := startProgram(t, "--set", "ops.addr="+ops)
	inside := program{&launch.Program{URL: "http://" + ops}}
	check(t, &inside, tests{
		{"own listener, a program", 200, "", nil},
		{"own listener, from elsewhere", 200, "", []string{"X-Forwarded-For", "192.0.2.1", "Host", "127.0.0.1"}},
		{"own listener, a proxy on this machine under another name", 403, "FORBIDDEN_HOST", []string{"X-Forwarded-For", "192.0.2.1", "Host", "bridge.internal"}},
		{"own listener, foreign page", 403, "FORBIDDEN_ORIGIN", []string{"Origin", "https://evil.example"}},
		{"own listener, from elsewhere, foreign page", 403, "FORBIDDEN_ORIGIN", []string{"X-Forwarded-For", "192.0.2.1", "Origin", "https://evil.example"}},
		{"own listener, rebound name", 403, "FORBIDDEN_HOST", []string{"Host", "evil.example"}},
	})
	if status, _, _ := public.request(t, "GET", "/console"); status != http.StatusNotFound {
		t.Errorf("the console is on http.addr beside ops.addr: %d", status)
	}
	public.Stop()
	<-public.Status
}

// TestConsoleGuard: the console's sockets are as closed as its routes, on both
// transports, and open to its own page.
func TestConsoleGuard(t *testing.T) {
	p := startProgram(t)
	node := siotest.Start(t)
	dial := func(transport string, header map[string]string) *siotest.Client {
		off := false
		return node.Dial(p.URL, siotest.Options{Path: "/console/socket.io/", Transports: []string{transport}, ExtraHeaders: header, Reconnection: &off})
	}
	for _, transport := range transports {
		for name, header := range map[string]map[string]string{
			"foreign page": {"Origin": "https://evil.example"},
			"rebound name": {"Host": "evil.example", "Origin": "http://evil.example"},
			"elsewhere":    {"X-Forwarded-For": "192.0.2.1"},
		} {
			want := http.StatusForbidden
			if name == "elsewhere" {
				want = http.StatusNotFound
			}
			if m := dial(transport, header).Refusal(); m.Status != want {
				t.Errorf("%s, %s: %d %s, want %d", name, transport, m.Status, m.Reason, want)
			}
		}
		c := dial(transport, map[string]string{"Origin": p.URL})
		c.Connected()
		if m := c.EventNamed("sample"); !strings.Contains(string(m.Args[0]), `"outcome.pushed"`) {
			t.Errorf("sample: %s", m.Args)
		}
	}
	p.Stop()
	<-p.Status
}

// TestConsolePage: the page is there, is asked for each time, and may load nothing
// but its own.
func TestConsolePage(t *testing.T) {
	p := startProgram(t)
	for _, path := range []string{"/console", "/console/"} {
		status, h, body := p.request(t, "GET", path)
		if status != 200 || !strings.Contains(body, "<!doctype html>") || h.Get("Content-Type") != "text/html; charset=utf-8" || h.Get("Cache-Control") != "no-cache" ||
			!strings.Contains(h.Get("Content-Security-Policy"), "default-src 'self'") || !strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors 'none'") || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %v %.100s", path, status, h, body)
		}
	}
	for _, path := range []string{"/console/nothing.js", "/console/../config.yaml", "/console/%2e%2e/console.go", "/console/assets/", "/console/assets"} {
		if status, _, _ := p.request(t, "GET", path); status != http.StatusNotFound {
			t.Errorf("%s: %d", path, status)
		}
	}
	// A link may lead to it; a frame or a script of another page may not have it.
	if status, _, _ := p.request(t, "GET", "/console", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"); status != 200 {
		t.Errorf("followed a link: %d", status)
	}
	for _, dest := range []string{"iframe", "script", "empty"} {
		if status, _, _ := p.request(t, "GET", "/console", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", dest); status != http.StatusForbidden {
			t.Errorf("as %s: %d", dest, status)
		}
	}
	p.Stop()
	<-p.Status
	_, entry := auth.NewAPIKey("me")
	p = startProgram(t, "--set", "ops.keys="+entry)
	status, h, _ := p.request(t, "GET", "/console")
	if status != http.StatusUnauthorized || !strings.HasPrefix(h.Get("WWW-Authenticate"), "Basic ") {
		t.Errorf("without a key: %d %v", status, h)
	}
	p.Stop()
	<-p.Status
}
