package sio

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/codewar/socketbridge/internal/testutil/capture"
)

// requestFrom makes a request as a page of that origin does; empty: as no page.
func requestFrom(t *testing.T, origin, method, url string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if origin != "" {
		req.Header.Set("Origin", origin)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	_, url := newServer(t, Config{AllowRequest: func(r *http.Request) error {
		if r.Header.Get("Origin") == "https://evil.example" {
			return errors.New("origin not allowed")
		}
		return nil
	}}, &recorder{})
	sid := dialPolling(t, url).sid
	for _, tc := range []struct {
		method, query, origin string
		status                int
		body                  string
	}{
		{"GET", "EIO=3&transport=polling", "", 400, `{"code":5,"message":"Unsupported protocol version"}`},
		{"GET", "transport=polling", "", 400, `{"code":5,"message":"Unsupported protocol version"}`},
		{"GET", "EIO=4&EIO=3&transport=polling", "", 400, `{"code":5,"message":"Unsupported protocol version"}`},
		{"GET", "EIO=3&transport=polling&sid=" + sid, "", 400, `{"code":3,"message":"Bad request"}`},
		{"GET", "EIO=4&transport=polling&j=0", "", 400, `{"code":3,"message":"Bad request"}`},
		{"GET", "EIO=4&transport=polling&%zz", "", 400, `{"code":3,"message":"Bad request"}`},
		{"GET", "EIO=4", "", 400, `{"code":0,"message":"Transport unknown"}`},
		{"GET", "EIO=3&transport=tesla", "", 400, `{"code":0,"message":"Transport unknown"}`},
		{"GET", "EIO=4&transport=polling&transport=websocket", "", 400, `{"code":3,"message":"Bad request"}`},
		{"GET", "EIO=4&transport=websocket", "", 400, `{"code":3,"message":"Bad request"}`},
		{"GET", "EIO=4&transport=polling&sid=nobody", "", 400, `{"code":1,"message":"Session ID unknown"}`},
		{"POST", "EIO=4&transport=polling", "", 400, `{"code":2,"message":"Bad handshake method"}`},
		{"PUT", "EIO=4&transport=polling&sid=" + sid, "", 400, `{"code":3,"message":"Bad request"}`},
		{"GET", "EIO=3&transport=polling", "https://evil.example", 403, `{"code":4,"message":"origin not allowed"}`},
		{"GET", "EIO=4&transport=polling", "https://evil.example", 403, `{"code":4,"message":"origin not allowed"}`},
	} {
		resp := requestFrom(t, tc.origin, tc.method, url+"/socket.io/?"+tc.query)
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != tc.status || string(body) != tc.body || resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: %d %s, want %d %s", tc.method, tc.query, resp.StatusCode, body, tc.status, tc.body)
		}
	}
	for query, want := range map[string]int{
		"&sid=nobody":            http.StatusBadRequest,
		"&sid=" + sid + "&EIO=3": http.StatusBadRequest,
		"&transport=polling":     http.StatusBadRequest,
	} {
		ws, resp, err := websocket.DefaultDialer.Dial(wsURL(url, query), nil)
		if err == nil {
			ws.Close()
			t.Errorf("websocket %s is taken", query)
		} else if resp == nil || resp.StatusCode != want {
			t.Errorf("websocket %s: %v", query, resp)
		}
	}
	_, resp, err := websocket.DefaultDialer.Dial(wsURL(url, ""), http.Header{"Origin": {"https://evil.example"}})
	if err == nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("websocket of a bad origin: %v, %v", resp, err)
	}
}

// TestRefusalsAreLogged: the log has one line for each code, without what may be a secret.
func TestRefusalsAreLogged(t *testing.T) {
	t.Parallel()
	var log capture.Text
	s := New(Config{AllowRequest: func(r *http.Request) error {
		if r.Header.Get("Origin") != "" {
			return errors.New("origin not allowed")
		}
		return nil
	}}, &recorder{}, slog.New(slog.NewTextHandler(&log, nil)))
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	for range 5 {
		for _, query := range []string{"EIO=3&transport=polling&token=secret", "EIO=4&transport=tesla", "EIO=4&transport=polling"} {
			r := httptest.NewRequest("GET", "/socket.io/?"+query, nil)
			r.Header.Set("Origin", "https://evil.example"+strings.Repeat("x", 1000))
			if strings.HasPrefix(query, "EIO=3") {
				r.Header.Del("Origin")
			}
			s.ServeHTTP(httptest.NewRecorder(), r)
		}
	}
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 3 || strings.Contains(log.String(), "secret") {
		t.Fatalf("log:\n%s", log.String())
	}
	for i, want := range []string{
		`reason="Unsupported protocol version" code=5 times=1 address=192.0.2.1 origin="" transport=polling protocol=3`,
		`reason="Transport unknown" code=0 times=1 address=192.0.2.1 origin=https://evil.example`,
		`reason="origin not allowed" code=4 times=1 address=192.0.2.1 origin=https://evil.example`,
	} {
		if !strings.Contains(lines[i], `level=WARN msg="handshake refused" component=sio `+want) || len(lines[i]) > 400 {
			t.Errorf("line %d is %s", i, lines[i])
		}
	}
}

// TestStopping: a server that is being closed says so.
func TestStopping(t *testing.T) {
	t.Parallel()
	s := New(Config{}, &recorder{}, slog.New(slog.DiscardHandler))
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", "/socket.io/?EIO=4&transport=polling", nil))
	if want := `{"code":4,"message":"The server is stopping, try again later"}`; w.Code != http.StatusServiceUnavailable || w.Body.String() != want {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestTransportsConfigured(t *testing.T) {
	t.Parallel()
	_, url := newServer(t, Config{Transports: []string{"polling"}}, &recorder{})
	resp, err := http.Get(url + "/socket.io/?EIO=4&transport=polling")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); !strings.Contains(string(body), `"upgrades":[]`) {
		t.Errorf("open: %s", body)
	}
	if ws, _, err := websocket.DefaultDialer.Dial(wsURL(url, ""), nil); err == nil {
		ws.Close()
		t.Error("websocket is taken")
	}
}

func TestCORS(t *testing.T) {
	t.Parallel()
	const good = "https://app.example"
	_, url := newServer(t, Config{AllowOrigin: func(origin string) bool { return origin == good }}, &recorder{})
	for _, tc := range []struct{ method, origin, allow, methods string }{
		{"GET", good, good, ""},
		{"OPTIONS", good, good, "GET,POST"},
		{"GET", "https://evil.example", "", ""},
		{"OPTIONS", "https://evil.example", "", ""},
		{"GET", "", "", ""},
	} {
		resp := requestFrom(t, tc.origin, tc.method, url+"/socket.io/?EIO=4&transport=polling")
		resp.Body.Close()
		h := resp.Header
		if h.Get("Access-Control-Allow-Origin") != tc.allow || h.Get("Access-Control-Allow-Methods") != tc.methods ||
			(h.Get("Access-Control-Allow-Credentials") == "true") != (tc.allow != "") || h.Get("Vary") != "Origin" {
			t.Errorf("%+v: %v", tc, h)
		}
	}
}

// TestUpgradeFails: an upgrade that comes to nothing leaves the polling session as it was.
func TestUpgradeFails(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	_, url := newServer(t, Config{}, r)
	c := joinPolling(t, url, "")
	s := r.socket(t, 0)
	for n, talk := range []func(ws *wsClient){
		func(ws *wsClient) { ws.ws.Close() },
		func(ws *wsClient) { ws.send("2"); ws.wantEnd() },
		func(ws *wsClient) { ws.send("2probe"); ws.want("3probe"); ws.send("3"); ws.wantEnd() },
		func(ws *wsClient) { ws.send("2probe"); ws.want("3probe"); ws.ws.Close() },
		func(ws *wsClient) { // one at a time
			if second, _, err := websocket.DefaultDialer.Dial(wsURL(url, "&sid="+c.sid), nil); err == nil {
				second.Close()
				t.Error("a second upgrade is taken")
			}
			ws.ws.Close()
		},
	} {
		var ws *websocket.Conn
		waitFor(t, func() (ok bool) { // the one before may not be over yet
			var err error
			ws, _, err = websocket.DefaultDialer.Dial(wsURL(url, "&sid="+c.sid), nil)
			return err == nil
		})
		talk(&wsClient{t, ws})
		ws.Close()
		push(t, s, n, n+1)
		if got := c.events(1); got[0] != string(numbered(n).text) {
			t.Errorf("after failed upgrade %d: %q", n, got)
		}
	}
}
