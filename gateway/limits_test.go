package gateway

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/apierror"
	"github.com/codewar/socketbridge/gateway/auth"
	"github.com/codewar/socketbridge/gateway/hub"
	"github.com/codewar/socketbridge/gateway/publish"
	"github.com/codewar/socketbridge/gateway/sio"
	"github.com/codewar/socketbridge/gateway/siotest"
	"github.com/codewar/socketbridge/store"
	"github.com/codewar/socketbridge/store/redistest"
)

// listening is a server on a port of its own, over a store.
func listening(t *testing.T, cfg Config, hubConfig hub.Config, s bridge.Store) (srv *Server, addr string) {
	t.Helper()
	return logging(t, slog.New(slog.DiscardHandler), cfg, hubConfig, s)
}

// logging is listening with a log.
func logging(t *testing.T, log *slog.Logger, cfg Config, hubConfig hub.Config, s bridge.Store) (srv *Server, addr string) {
	t.Helper()
	if _, err := s.Beat(t.Context()); err != nil {
		t.Fatal(err)
	}
	cfg.Publish.MaxBody, cfg.Publish.ReplyTimeout = cmp.Or(cfg.Publish.MaxBody, 4096), time.Second
	srv = NewServer(cfg, hub.New(s, newHistory(), hubConfig, log), s, pushed, nil, prometheus.NewRegistry(), log)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l, nil) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(srv.Shutdown(ctx, 0), <-served, s.Close()); err != nil {
			t.Error(err)
		}
	})
	return srv, l.Addr().String()
}

func memory() bridge.Store { return store.NewMemory(store.Limits{}).Node("n") }

func TestPayloadRate(t *testing.T) {
	t.Parallel()
	proxy := netip.MustParsePrefix("10.0.0.0/8")
	srv, _ := listening(t, Config{Publish: publish.Config{CallsPerSecond: 1, CallBurst: 2}, TrustedProxies: []netip.Prefix{proxy}}, hub.Config{}, memory())
	call := func(remote, forwarded string) *http.Response {
		r := httptest.NewRequest("POST", "/sendPayload", strings.NewReader(`{"userId":"u","topic":"t"}`))
		r.RemoteAddr = remote
		r.Header.Set("X-Forwarded-For", forwarded)
		w := httptest.NewRecorder()
		srv.http.Handler.ServeHTTP(w, r)
		return w.Result()
	}
	for range 2 {
		if res := call("10.1.1.1:5", "203.0.113.9, 192.0.2.1"); res.StatusCode != http.StatusNotFound {
			t.Fatalf("within the limit: %d", res.StatusCode)
		}
	}
	// What a caller writes into X-Forwarded-For himself makes him nobody else.
	for _, forwarded := range []string{"192.0.2.1", "198.51.100.7, 192.0.2.1", "198.51.100.8, 192.0.2.1, 10.2.2.2"} {
		res := call("10.1.1.1:5", forwarded)
		body, _ := io.ReadAll(res.Body)
		if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") != "1" || !strings.Contains(string(body), apierror.RateLimited) {
			t.Errorf("%s: %d, Retry-After %q, %s", forwarded, res.StatusCode, res.Header.Get("Retry-After"), body)
		}
	}
	if res := call("192.0.2.2:5", "192.0.2.1"); res.StatusCode != http.StatusNotFound {
		t.Errorf("who is no proxy is taken for one: %d", res.StatusCode)
	}
	if n := srv.Refusals()["payload_rate"]; n != 3 {
		t.Errorf("%d refusals are counted, want 3", n)
	}
}

// TestCallersPace: a key and a token's subject have an allowance of their own,
// wherever they call from, and who is not believed has that of the address.
func TestCallersPace(t *testing.T) {
	t.Parallel()
	const secret, scope = "main:an HMAC secret of 32 bytes or more", "payload:send"
	verifier, err := auth.Open(auth.Config{Secrets: []string{secret}, UserClaim: "sub"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := auth.NewSecretSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	token := func(subject, scope string) string {
		text, err := signer.Sign(auth.Config{UserClaim: "sub"}, subject, time.Hour, strings.Fields(scope))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	judge, entry := auth.NewAPIKey("judge")
	runner, entry2 := auth.NewAPIKey("runner")
	var keys []auth.APIKey
	for _, e := range []string{entry, entry2} {
		k, err := auth.ParseAPIKey(e)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	const one, two, here = "192.0.2.1:5", "192.0.2.2:5", "127.0.0.1:5"
	type call struct {
		presents, from string
		want           int
	}
	for name, calls := range map[string][]call{
		"key, from everywhere":  {{judge, one, 404}, {judge, two, 404}, {judge, one, 429}, {judge, two, 429}, {judge, here, 429}, {runner, one, 404}},
		"subject":               {{token("a", scope), one, 404}, {token("a", scope), two, 404}, {token("a", scope), one, 429}, {token("b", scope), one, 404}},
		"names do not meet":     {{judge, one, 404}, {judge, one, 404}, {token("judge", scope), one, 404}},
		"long subject":          {{token(strings.Repeat("x", 200), scope), one, 404}, {token(strings.Repeat("y", 200), scope), one, 404}, {token(strings.Repeat("z", 200), scope), one, 429}},
		"who presents nothing":  {{"", one, 401}, {"", one, 401}, {"", one, 429}, {"", two, 401}},
		"wrong keys":            {{"x", one, 401}, {"y", one, 401}, {"z", one, 429}, {token("a", scope), one, 429}, {judge, one, 404}},
		"tokens without scope":  {{token("a", ""), one, 403}, {token("b", ""), one, 403}, {token("c", ""), one, 429}},
		"wrong keys, from here": {{"x", here, 401}, {"x", here, 401}, {"x", here, 401}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := Config{Publish: publish.Config{CallsPerSecond: 1, CallBurst: 2}, Auth: AuthConfig{Verifier: verifier, PublishScope: scope, APIKeys: keys}}
			srv, _ := listening(t, cfg, hub.Config{}, memory())
			refusals := uint64(0)
			for n, c := range calls {
				r := httptest.NewRequest("POST", "/sendPayload", strings.NewReader(`{"userId":"u","topic":"t"}`))
				r.RemoteAddr = c.from
				if c.presents != "" {
					r.Header.Set("Authorization", "Bearer "+c.presents)
				}
				w := httptest.NewRecorder()
				srv.http.Handler.ServeHTTP(w, r)
				if w.Code != c.want {
					t.Errorf("call %d: %d %s, want %d", n, w.Code, w.Body, c.want)
				}
				if limited := c.want == http.StatusTooManyRequests; limited != (w.Header().Get("Retry-After") == "1") || limited && w.Header().Get("WWW-Authenticate") != "" {
					t.Errorf("call %d: headers %v", n, w.Header())
				}
				if c.want == http.StatusTooManyRequests {
					refusals++
				}
			}
			if n := srv.Refusals()["payload_rate"]; n != refusals {
				t.Errorf("%d refusals are counted, want %d", n, refusals)
			}
		})
	}
}

func TestClientAddr(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ proxies, remote, forwarded, want string }{
		{"", "192.0.2.1:5", "203.0.113.9", "192.0.2.1"},
		{"10.0.0.0/8", "192.0.2.1:5", "203.0.113.9", "192.0.2.1"},
		{"10.0.0.0/8", "10.0.0.1:5", "203.0.113.9", "203.0.113.9"},
		{"10.0.0.0/8", "10.0.0.1:5", "1.1.1.1, 203.0.113.9, 10.0.0.2", "203.0.113.9"},
		{"10.0.0.0/8", "10.0.0.1:5", "", "10.0.0.1"},
		{"10.0.0.0/8", "10.0.0.1:5", "<script>", "10.0.0.1"},
		{"10.0.0.0/8", "[::ffff:10.0.0.1]:5", "203.0.113.9", "203.0.113.9"},
		{"fd00::/8", "[fd00::1]:5", "2001:db8::1", "2001:db8::1"},
		{"192.168.0.0/16", "127.0.0.1:5", "203.0.113.9", "127.0.0.1"},
	} {
		var proxies []netip.Prefix
		if tt.proxies != "" {
			proxies = append(proxies, netip.MustParsePrefix(tt.proxies))
		}
		r := &http.Request{RemoteAddr: tt.remote, Header: http.Header{}}
		if tt.forwarded != "" {
			r.Header.Set("X-Forwarded-For", tt.forwarded)
		}
		if got := clientAddr(proxies)(r); got.String() != tt.want {
			t.Errorf("%+v: got %v", tt, got)
		}
	}
}

// TestTooManySockets: the cluster's limit for one user holds however many come at
// once, the oldest stay, and a place that is given up is free again.
func TestTooManySockets(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) (a, b bridge.Store){
		"memory": func(*testing.T) (a, b bridge.Store) {
			m := store.NewMemory(store.Limits{})
			return m.Node("a"), m.Node("b")
		},
		"redis": func(t *testing.T) (a, b bridge.Store) {
			cfg := store.Config{Addrs: []string{redistest.Server(t).Addr}}
			nodes := make(map[bridge.NodeID]bridge.Store)
			for _, id := range []bridge.NodeID{"a", "b"} {
				s, err := store.OpenRedis(t.Context(), cfg, store.Limits{}, id, slog.New(slog.DiscardHandler))
				if err != nil {
					t.Fatal(err)
				}
				nodes[id] = s
			}
			return nodes["a"], nodes["b"]
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const most = 3
			a, b := open(t)
			srvA, addrA := listening(t, Config{}, hub.Config{MaxPerUser: most}, a)
			srvB, addrB := listening(t, Config{}, hub.Config{MaxPerUser: most}, b)
			var mu sync.Mutex
			var in []*websocket.Conn
			var clients sync.WaitGroup
			for n := range 4 * most {
				clients.Go(func() {
					ws := siotest.Raw(t, []string{addrA, addrB}[n%2], `420["setUserId","u"]`)
					answer := siotest.Await(t, ws, "430")
					if strings.Contains(answer, `"ok":true`) {
						mu.Lock()
						defer mu.Unlock()
						in = append(in, ws)
					} else if !strings.Contains(answer, apierror.TooManySockets) {
						t.Errorf("answer %s", answer)
					}
				})
			}
			clients.Wait()
			if len(in) != most {
				t.Fatalf("%d sockets are mapped, want %d", len(in), most)
			}
			if n := srvA.Refusals()["sockets_per_user"] + srvB.Refusals()["sockets_per_user"]; n != 3*most {
				t.Errorf("%d refusals are counted, want %d", n, 3*most)
			}
			siotest.Await(t, siotest.Raw(t, addrA, `42["setUserId","u"]`), `42["error",{"type":"TOO_MANY_SOCKETS"`)
			siotest.Await(t, siotest.Raw(t, addrA, `420["setUserId","someone else"]`), `430[{"offset"`)
			in[0].Close()
			for {
				ws := siotest.Raw(t, addrB, `420["setUserId","u"]`)
				if strings.Contains(siotest.Await(t, ws, "430"), `"ok":true`) {
					break
				}
			}
		})
	}
}

// stuckStore registers nobody until it is let go.
type stuckStore struct {
	bridge.Store
	entered, release chan struct{}
}

func (s *stuckStore) Register(ctx context.Context, r bridge.Registration) (bridge.Registered, error) {
	s.entered <- struct{}{}
	<-s.release
	return s.Store.Register(ctx, r)
}

// TestOverload: while the store is behind, new connections are told to come later.
func TestOverload(t *testing.T) {
	t.Parallel()
	s := &stuckStore{memory(), make(chan struct{}), make(chan struct{})}
	srv, addr := listening(t, Config{}, hub.Config{MaxBinding: 2}, s)
	for n := range 2 {
		siotest.Raw(t, addr, fmt.Sprintf(`42["setUserId","u%d"]`, n))
	}
	<-s.entered
	<-s.entered
	_, resp, err := websocket.DefaultDialer.Dial("ws://"+addr+"/socket.io/?EIO=4&transport=websocket", nil)
	if err == nil || resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("a third one: %v %v", resp, err)
	}
	if n := srv.Refusals()["overload"]; n != 1 {
		t.Errorf("%d refusals are counted, want 1", n)
	}
	close(s.release)
	for began := time.Now(); ; {
		if ws, _, err := websocket.DefaultDialer.Dial("ws://"+addr+"/socket.io/?EIO=4&transport=websocket", nil); err == nil {
			ws.Close()
			return
		}
		if time.Since(began) > 10*time.Second {
			t.Fatal("still refused when the store has caught up")
		}
	}
}

// TestSlowRequests: whoever drips a request is cut off, on every route, and a poll
// that hangs is not.
func TestSlowRequests(t *testing.T) {
	t.Parallel()
	srv, addr := listening(t, Config{ReadHeaderTimeout: 100 * time.Millisecond, ReadTimeout: 200 * time.Millisecond, MaxHeader: 4096}, hub.Config{}, memory())
	for name, tt := range map[string]struct{ request, want string }{
		"header":          {"POST /sendPayload HTTP/1.1\r\nHost: a\r\n", ""},
		"body":            {"POST /sendPayload HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", "HTTP/1.1 408"},
		"endless chunks":  {"POST /sendPayload HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", "HTTP/1.1 408"},
		"unread body":     {"POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{", "HTTP/1.1 405"},
		"large header":    {"GET /livez HTTP/1.1\r\nHost: a\r\nCookie: " + strings.Repeat("x", 10_000) + "\r\n\r\n", "HTTP/1.1 431"},
		"poll with body":  {"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{", "HTTP/1.1 400"},
		"handshake, body": {"POST /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{", "HTTP/1.1 400"},
	} {
		t.Run(name, func(t *testing.T) {
			nc, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if _, err := io.WriteString(nc, tt.request); err != nil {
				t.Fatal(err)
			}
			_ = nc.SetReadDeadline(time.Now().Add(5 * time.Second))
			answer, err := io.ReadAll(nc) // to the end of the connection
			if err != nil && !strings.Contains(err.Error(), "reset") {
				t.Fatalf("still open: %v", err)
			}
			if status, _, _ := strings.Cut(string(answer), "\r\n"); !strings.HasPrefix(status, tt.want) {
				t.Errorf("answered %q, want %s", status, tt.want)
			}
		})
	}
	if n := srv.Refusals()["read_time"]; n != 2 {
		t.Errorf("%d slow bodies are counted, want 2", n)
	}

	res, err := http.Get("http://" + addr + "/socket.io/?EIO=4&transport=polling")
	if err != nil {
		t.Fatal(err)
	}
	open, _ := bufio.NewReader(res.Body).ReadString('}')
	res.Body.Close()
	sid := strings.Split(open, `"`)[3]
	hang := time.Now()
	client := http.Client{Timeout: time.Second}
	_, err = client.Get("http://" + addr + "/socket.io/?EIO=4&transport=polling&sid=" + sid)
	if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() {
		t.Errorf("a poll ended after %v: %v", time.Since(hang), err)
	}
}

// TestIdleTimeout: a connection on which nothing more is asked does not stay.
func TestIdleTimeout(t *testing.T) {
	t.Parallel()
	cfg := Config{IdleTimeout: 100 * time.Millisecond, ReadHeaderTimeout: time.Minute, ReadTimeout: time.Minute}
	_, addr := listening(t, cfg, hub.Config{}, memory())
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := io.WriteString(nc, "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	_ = nc.SetReadDeadline(time.Now().Add(5 * time.Second))
	if answer, err := io.ReadAll(nc); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200") {
		t.Errorf("%.40q, then %v", answer, err)
	}
}

// TestEndlessBody: a body that does not say where it ends is read at a pace.
func TestEndlessBody(t *testing.T) {
	t.Parallel()
	const perSecond = 100_000
	_, addr := listening(t, Config{Sockets: sio.Config{InboundRate: perSecond}, Publish: publish.Config{MaxBody: 1 << 20}}, hub.Config{}, memory())
	body := struct{ io.Reader }{strings.NewReader(strings.Repeat("x", 64<<10+perSecond/2))} // hides its length
	begin := time.Now()
	resp, err := http.Post("http://"+addr+"/sendPayload", "application/json", body)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if took := time.Since(begin); took < 400*time.Millisecond {
		t.Errorf("%d after %v", resp.StatusCode, took)
	}
}
