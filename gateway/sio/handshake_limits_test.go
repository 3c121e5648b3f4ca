package sio

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// fromHeader takes the client's address from a header of the test's own.
func fromHeader(r *http.Request) netip.Addr {
	a, _ := netip.ParseAddr(r.Header.Get("From"))
	return a
}

// handshake asks for a connection from an address. It returns the status of a
// refusal, or 0 and the connection, which ends with the test.
func handshake(t *testing.T, url, transport, from string) (status int, c *wsClient) {
	t.Helper()
	header := http.Header{"From": {from}}
	if transport == pollingTransport {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/socket.io/?EIO=4&transport=polling", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = header
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return refusedWith(t, resp), nil
	}
	ws, resp, err := websocket.DefaultDialer.Dial(wsURL(url, ""), header)
	if err != nil {
		if resp == nil {
			t.Fatal(err)
		}
		return refusedWith(t, resp), nil
	}
	t.Cleanup(func() { ws.Close() })
	return 0, &wsClient{t, ws}
}

func refusedWith(t *testing.T, resp *http.Response) int {
	t.Helper()
	if resp.StatusCode == http.StatusOK {
		return 0
	}
	if resp.Header.Get("Retry-After") == "" {
		t.Errorf("refused with %d and no Retry-After", resp.StatusCode)
	}
	return resp.StatusCode
}

// TestHandshakeSlots: a handshake waits for a slot, one too many is refused, and one whose client
// leaves does not wait.
func TestHandshakeSlots(t *testing.T) {
	t.Parallel()
	s, url := newServer(t, Config{MaxHandshakes: 2}, &recorder{})
	var taken []*connectSlot
	for range cap(s.limits.connects.free) {
		taken = append(taken, s.limits.connects.take(t.Context()))
	}
	leaving, leave := context.WithCancel(t.Context())
	defer leave()
	statuses := make(chan int, 2)
	for _, ctx := range []context.Context{leaving, t.Context()} {
		go func() {
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, url+"/socket.io/?EIO=4&transport=polling", nil)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				statuses <- 0
				return
			}
			resp.Body.Close()
			statuses <- resp.StatusCode
		}()
	}
	waitFor(t, func() bool { return s.limits.waiting.Load() == 2 })
	for _, transport := range []string{websocketTransport, pollingTransport} {
		if status, _ := handshake(t, url, transport, ""); status != http.StatusServiceUnavailable {
			t.Errorf("%s: one too many gets %d", transport, status)
		}
	}
	leave()
	if status := <-statuses; status != 0 {
		t.Errorf("the one that left got %d", status)
	}
	waitFor(t, func() bool { return s.limits.waiting.Load() == 1 })
	for _, mine := range taken {
		s.limits.connects.release(mine)
	}
	if status := <-statuses; status != http.StatusOK {
		t.Errorf("the one that waited got %d", status)
	}
	if n := s.Stats().Refusals[LimitHandshakes]; n != 2 {
		t.Errorf("%d refusals, want 2", n)
	}
	waitFor(t, func() bool { return len(s.limits.connects.free) == cap(s.limits.connects.free) })
}

// TestHandshakeLimits: each limit refuses on both transports, with its own
// account, and leaves others alone.
func TestHandshakeLimits(t *testing.T) {
	t.Parallel()
	const a, a2, b = "2001:db8:0:1::1", "2001:db8:0:1::2", "192.0.2.1" // a and a2 are one customer
	var overloaded atomic.Bool
	for _, tt := range []struct {
		limit  string
		cfg    Config
		before func()
		status int
		other  int // what another address gets
	}{
		{LimitConnectRate, Config{ConnectsPerSecond: 1, ConnectBurst: 2}, nil, 429, 0},
		{LimitPerAddress, Config{MaxPerAddress: 2}, nil, 429, 0},
		{LimitConnections, Config{MaxConnections: 2}, nil, 503, 503},
		{LimitOverload, Config{Overloaded: overloaded.Load}, func() { overloaded.Store(true) }, 503, 503},
	} {
		t.Run(tt.limit, func(t *testing.T) {
			tt.cfg.ClientAddr = fromHeader
			s, url := newServer(t, tt.cfg, &recorder{})
			for _, from := range []string{a, a2} {
				if status, _ := handshake(t, url, websocketTransport, from); status != 0 {
					t.Fatalf("the first ones are refused with %d", status)
				}
			}
			if tt.before != nil {
				tt.before()
			}
			refusals := uint64(0)
			for _, transport := range []string{websocketTransport, pollingTransport} {
				if status, _ := handshake(t, url, transport, a); status != tt.status {
					t.Errorf("%s: status %d, want %d", transport, status, tt.status)
				}
				if status, _ := handshake(t, url, transport, b); status != tt.other {
					t.Errorf("%s from another address: status %d, want %d", transport, status, tt.other)
				}
				refusals++
				if tt.other != 0 {
					refusals++
				}
			}
			for name, n := range s.Stats().Refusals {
				if want := map[bool]uint64{true: refusals}[name == tt.limit]; n != want {
					t.Errorf("%d refusals for %s, want %d", n, name, want)
				}
			}
		})
	}
}

// TestPlaceIsGivenBack: a connection that has ended, on either transport or before
// it began, does not count any more.
func TestPlaceIsGivenBack(t *testing.T) {
	t.Parallel()
	const from = "192.0.2.1"
	s, url := newServer(t, Config{MaxConnections: 1, MaxPerAddress: 1, ClientAddr: fromHeader}, &recorder{})
	for range 3 {
		status, c := handshake(t, url, websocketTransport, from)
		if status != 0 {
			t.Fatalf("refused with %d", status)
		}
		if status, _ := handshake(t, url, websocketTransport, from); status == 0 {
			t.Fatal("a second one is let in")
		}
		c.ws.Close()
		waitFor(t, func() bool { return s.limits.open.Load() == 0 && s.limits.held.Len() == 0 })

		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/socket.io/?EIO=4&transport=websocket", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{"From": {from}, "Connection": {"Upgrade"}, "Upgrade": {"websocket"}} // and no key
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("half an upgrade: %d", resp.StatusCode)
		}

		p := dialPolling(t, url)
		waitFor(t, func() bool { return s.limits.open.Load() == 1 })
		p.wantPost("1")
		waitFor(t, func() bool { return s.limits.open.Load() == 0 })
	}
}

// TestThisMachineIsNotLimited: without trusted proxies everybody behind a proxy
// here would share one allowance.
func TestThisMachineIsNotLimited(t *testing.T) {
	t.Parallel()
	_, url := newServer(t, Config{ConnectsPerSecond: 1, ConnectBurst: 1, MaxPerAddress: 1}, &recorder{})
	for range 5 {
		joinWS(t, url, "")
	}
}

// TestMessageLimits: what one message, and one connection, may be.
func TestMessageLimits(t *testing.T) {
	t.Parallel()
	large := `42["e","` + strings.Repeat("x", 2000) + `"]`
	namespaces := make([]string, maxForeignNamespaces+1)
	for n := range namespaces {
		namespaces[n] = fmt.Sprintf("40/n%d,", n)
	}
	for _, tt := range []struct {
		reason string
		say    []string
		status int // of the POST
	}{
		{ReasonTooLarge, []string{large}, http.StatusRequestEntityTooLarge},
		{ReasonNamespaces, namespaces, http.StatusBadRequest},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			t.Run("websocket", func(t *testing.T) {
				r := &recorder{}
				s, url := newServer(t, Config{MaxInbound: 1000}, r)
				c := joinWS(t, url, "")
				r.socket(t, 0)
				for _, text := range tt.say {
					c.try(text)
				}
				c.wantEnd()
				wantDrop(t, s, r, tt.reason)
			})
			t.Run("polling", func(t *testing.T) {
				r := &recorder{}
				s, url := newServer(t, Config{MaxInbound: 1000}, r)
				c := joinPolling(t, url, "")
				r.socket(t, 0)
				if status, _ := c.post(strings.Join(tt.say, "\x1e")); status != tt.status {
					t.Errorf("status %d, want %d", status, tt.status)
				}
				wantDrop(t, s, r, tt.reason)
			})
		})
	}
}

// TestIdleFrames: a client that sends more pings, or pongs without a ping, than a minute allows
// is dropped.
func TestIdleFrames(t *testing.T) {
	t.Parallel()
	for name, say := range map[string]func(c *wsClient){
		"ping":           func(c *wsClient) { _ = c.ws.WriteMessage(websocket.PingMessage, []byte("x")) },
		"pong":           func(c *wsClient) { _ = c.ws.WriteMessage(websocket.PongMessage, nil) },
		"Engine.IO pong": func(c *wsClient) { c.try("3") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &recorder{event: func(_ *Socket, _ string, _ []json.RawMessage, ack func(...any)) { ack() }}
			s, url := newServer(t, Config{}, r)
			c := joinWS(t, url, "")
			r.socket(t, 0)
			for range maxIdleFrames {
				say(c)
			}
			c.send(`421["e"]`)
			c.want("431[]")
			say(c)
			c.wantEnd()
			wantDrop(t, s, r, ReasonRateLimited)
		})
	}
	t.Run("polling", func(t *testing.T) {
		t.Parallel()
		r := &recorder{}
		s, url := newServer(t, Config{}, r)
		c := joinPolling(t, url, "")
		r.socket(t, 0)
		c.wantPost(strings.Repeat("3\x1e", maxIdleFrames-1) + "3")
		if status, _ := c.post("3"); status != http.StatusBadRequest {
			t.Errorf("status %d", status)
		}
		wantDrop(t, s, r, ReasonRateLimited)
	})
}

// TestGetHasNoBody: its sender could drip it for as long as the GET hangs, and after.
func TestGetHasNoBody(t *testing.T) {
	t.Parallel()
	_, url := newServer(t, Config{}, &recorder{})
	c := joinPolling(t, url, "")
	if status, _ := c.do(http.MethodGet, strings.NewReader("x")); status != http.StatusBadRequest {
		t.Errorf("status %d", status)
	}
	c.wantPost("1")
}

// TestSlowPost: a body that does not come in time ends the session.
func TestSlowPost(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	_, url := newServer(t, Config{ReadTimeout: 100 * time.Millisecond}, r)
	c := joinPolling(t, url, "")
	r.socket(t, 0)
	body, dripping := io.Pipe()
	defer dripping.Close()
	go func() { _, _ = io.WriteString(dripping, "4") }()
	if status, _ := c.do(http.MethodPost, body); status != http.StatusBadRequest {
		t.Errorf("status %d", status)
	}
	waitFor(t, func() bool { lines := r.lines(); return lines[len(lines)-1] == "disconnect "+ReasonTransportClose })
}

// TestInboundRate: what a client sends in bulk is taken at a pace, whole, and what
// is short at once, also afterwards.
func TestInboundRate(t *testing.T) {
	t.Parallel()
	const perSecond, pause = 200_000, 400 * time.Millisecond
	bulk := `42["bulk","` + strings.Repeat("x", 64<<10+perSecond/2) + `"]`
	for transport, send := range map[string]func(t *testing.T, url string){
		"compressed websocket": func(t *testing.T, url string) { // a kilobyte on the wire
			c := dialRaw(t, strings.TrimPrefix(url, "http://"), "", deflateExtension)
			c.write(0x80|opText, []byte("40"))
			c.write(0x80|opText|compressed, deflate([]byte(bulk)))
			c.write(0x80|opText, []byte(`42["short"]`))
		},
		websocketTransport: func(t *testing.T, url string) {
			c := joinWS(t, url, "")
			c.send(bulk) // in many fragments
			c.send(`42["short"]`)
		},
		pollingTransport: func(t *testing.T, url string) {
			c := joinPolling(t, url, "")
			c.wantPost(bulk)
			c.wantPost(`42["short"]`)
		},
	} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			came := make(chan string, 2)
			r := &recorder{event: func(_ *Socket, name string, args []json.RawMessage, _ func(...any)) {
				came <- name + join(args)
			}}
			_, url := newServer(t, Config{InboundRate: perSecond, CompressAbove: 1000}, r)
			begin := time.Now()
			sent := make(chan struct{})
			go func() { defer close(sent); send(t, url) }()
			if got := <-came; len(got) != len(bulk)-len(`42["",]`)+len(`[]`) {
				t.Errorf("%d bytes have come of %d", len(got), len(bulk))
			}
			if took := time.Since(begin); took < pause {
				t.Errorf("bulk took %v, want more than %v", took, pause)
			}
			<-came
			<-sent
		})
	}
}
