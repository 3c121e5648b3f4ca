package sio

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"github.com/codewar/socketbridge/gateway/limit"
	"github.com/codewar/socketbridge/internal/metrics"
)

// What else the library does as it is shipped, and this server must not.

// wantDrop waits until a connection was dropped for the reason, and the Handler told.
func wantDrop(t *testing.T, s *Server, r *recorder, reason string) {
	t.Helper()
	waitFor(t, func() bool {
		lines := r.lines()
		return s.Stats().Drops[reason] == 1 && len(lines) > 0 && lines[len(lines)-1] == "disconnect "+reason
	})
}

// TestConnects: the stock server now and then misses a CONNECT, or closes on an
// event that comes right behind it.
func TestConnects(t *testing.T) {
	t.Parallel()
	r := &recorder{event: func(_ *Socket, _ string, _ []json.RawMessage, ack func(...any)) { ack() }}
	s, url := newServer(t, Config{}, r)
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for range 50 {
				ws, _, err := websocket.DefaultDialer.Dial(wsURL(url, ""), nil)
				if err != nil {
					t.Error(err)
					return
				}
				c := &wsClient{t, ws}
				c.try("40")
				c.try(`421["early"]`)
				for _, want := range []string{"0{", "40{", "431[]"} {
					if got, err := c.read(); err != nil || !strings.HasPrefix(got, want) {
						t.Errorf("got %q, %v, want %q", got, err, want)
					}
				}
				ws.Close()
			}
		})
	}
	clients.Wait()
	waitFor(t, func() bool { return len(r.lines()) == 3*400 })
	s.check(t)
}

// TestStalledClient: nothing bounds what the stock server keeps for a client that does not read.
func TestStalledClient(t *testing.T) {
	t.Parallel()
	payload := []byte(`{"s":"` + strings.Repeat("x", 10_000) + `"}`)
	for _, transport := range []string{"websocket", "polling"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			r := &recorder{}
			s, url := newServer(t, Config{MaxPending: 1 << 20}, r)
			if transport == "polling" {
				joinPolling(t, url, "")
			} else {
				joinWS(t, url, "")
			}
			sock := r.socket(t, 0)
			var err error
			most := 0
			for range 100_000 {
				if err = sock.Push(EventPacket("big", payload, "")); err != nil {
					break
				}
				most = max(most, sock.Pending())
			}
			if !errors.Is(err, ErrSlow) {
				t.Fatalf("push: %v", err)
			}
			if most > 1<<20 {
				t.Errorf("%d bytes were pending", most)
			}
			<-sock.Context().Done()
			wantDrop(t, s, r, ReasonSlow)
			if err := sock.Push(EventPacket("big", payload, "")); !errors.Is(err, ErrClosed) {
				t.Errorf("push afterwards: %v", err)
			}
		})
	}
}

// TestWriteTimeout: a client that reads nothing is dropped although its pongs come.
func TestWriteTimeout(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	s, url := newServer(t, Config{MaxPending: 64 << 20, WriteTimeout: 200 * time.Millisecond}, r)
	joinWS(t, url, "")
	sock := r.socket(t, 0)
	big := EventPacket("big", []byte(`{"s":"`+strings.Repeat("x", 8<<20)+`"}`), "")
	for range 4 {
		if err := sock.Push(big); err != nil {
			t.Fatal(err)
		}
	}
	wantDrop(t, s, r, ReasonSlow)
}

// TestDescriptors: the stock server leaves each connection to the garbage collector.
func TestDescriptors(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("counts /proc/self/fd")
	}
	r := &recorder{}
	_, url := newServer(t, Config{}, r)
	open := func() int {
		fds, err := filepath.Glob("/proc/self/fd/*")
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, fd := range fds {
			if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, "socket:") {
				n++
			}
		}
		return n
	}
	before := open()
	for range 50 {
		joinWS(t, url, "").ws.Close()
	}
	waitFor(t, func() bool { return open() <= before+2 }) // the HTTP client may keep two
}

// TestClientNeverAnswersClose: a client that ignores the close frame holds nothing for long.
func TestClientNeverAnswersClose(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	s, url := newServer(t, Config{}, r)
	joinWS(t, url, "") // and reads no more
	start := time.Now()
	r.socket(t, 0).Close("test")
	waitFor(t, func() bool { return s.Stats().Websocket == 0 && s.conn(r.sockets[0].conn.sid) == nil })
	if took := time.Since(start); took > 2*closeGrace {
		t.Errorf("took %v", took)
	}
}

func TestProtocolErrors(t *testing.T) {
	t.Parallel()
	for name, send := range map[string]func(c *wsClient){
		"bad packet":    func(c *wsClient) { c.send("42{}") },
		"empty":         func(c *wsClient) { c.send("") },
		"ping":          func(c *wsClient) { c.send("2") },
		"binary":        func(c *wsClient) { _ = c.ws.WriteMessage(websocket.BinaryMessage, []byte("42")) },
		"no attachment": func(c *wsClient) { c.send(`451-["e",{"_placeholder":true,"num":0}]`); c.send(`42["e"]`) },
		"two attachments": func(c *wsClient) {
			c.send(`451-["e",{"_placeholder":true,"num":0}]`)
			c.send("bAAAA")
			c.send("bAAAA")
		},
		"base64":         func(c *wsClient) { c.send("bAAAA") },
		"second CONNECT": func(c *wsClient) { c.send("40") },
		"elsewhere":      func(c *wsClient) { c.send(`42/admin,["e"]`) },
		"reserved":       func(c *wsClient) { c.send(`42["disconnect"]`) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &recorder{}
			s, url := newServer(t, Config{}, r)
			c := joinWS(t, url, "")
			r.socket(t, 0)
			send(c)
			c.wantEnd()
			wantDrop(t, s, r, ReasonProtocol)
		})
	}
}

// TestErrorEvent: in the stock server this event reaches listeners for errors of the server.
func TestErrorEvent(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	_, url := newServer(t, Config{}, r)
	c := joinWS(t, url, "")
	c.send(`42["error",{"message":"x"}]`)
	c.send(`42["__proto__"]`)
	c.send(`42/,["e"]`)
	want := []string{"connect", `event error [{"message":"x"}]`, "event __proto__ null", "event e null"}
	waitFor(t, func() bool { return len(r.lines()) == len(want) })
	if diff := cmp.Diff(want, lessBrackets(r.lines())); diff != "" {
		t.Error(diff)
	}
}

// lessBrackets writes an empty list of arguments as null.
func lessBrackets(lines []string) []string {
	for i := range lines {
		lines[i] = strings.ReplaceAll(lines[i], " []", " null")
	}
	return lines
}

func TestUnknownNamespace(t *testing.T) {
	t.Parallel()
	_, url := newServer(t, Config{}, &recorder{})
	c := joinWS(t, url, "")
	c.send(`40/admin,{"a":1}`)
	if got := c.want("44"); got != `44/admin,{"message":"Invalid namespace"}` {
		t.Errorf("got %q", got)
	}
	c.send(`421["e"]`) // the connection is as good as before
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	s, url := newServer(t, Config{EventsPerMinute: 5}, r)
	c := joinWS(t, url, "")
	for n := range 20 {
		c.try(fmt.Sprintf(`42["e",%d]`, n))
	}
	got := c.wantEnd()
	want := []string{`42["error",{"details":{"limit":5,"window":"1m"},"message":"Too many events","type":"RATE_LIMITED"}]`, "41"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	wantDrop(t, s, r, ReasonRateLimited)
	if n := len(r.lines()); n != 7 { // connect, five events, disconnect
		t.Errorf("the handler was told %q", r.lines())
	}
}

// TestOverrun: 20 000 events to a slow handler are 20 000 goroutines of the stock server.
func TestOverrun(t *testing.T) {
	t.Parallel()
	busy := make(chan struct{})
	r := &recorder{event: func(*Socket, string, []json.RawMessage, func(...any)) { <-busy }}
	s, url := newServer(t, Config{}, r)
	c := joinWS(t, url, "")
	for range 2 * maxCalls {
		c.try(`42["e"]`)
	}
	c.wantEnd()
	close(busy)
	wantDrop(t, s, r, ReasonOverrun)
}

// TestOverrunBytes: few events are too many when they are large.
func TestOverrunBytes(t *testing.T) {
	t.Parallel()
	busy := make(chan struct{})
	r := &recorder{event: func(*Socket, string, []json.RawMessage, func(...any)) { <-busy }}
	s, url := newServer(t, Config{Memory: limit.MemoryConfig{PerConnection: 32 << 10}}, r)
	c := joinWS(t, url, "")
	for range 8 {
		c.try(`42["e","` + strings.Repeat("x", 5000) + `"]`)
	}
	waitFor(t, func() bool { return s.Stats().Drops[ReasonMemory] == 1 })
	close(busy)
	wantDrop(t, s, r, ReasonMemory)
}

// TestHandlerPanics: a panic costs a call, not the process nor the socket.
func TestHandlerPanics(t *testing.T) {
	t.Parallel()
	r := &recorder{
		restore: func(string, string) (Restored, bool) { panic("restore") },
		connect: func(*Socket) { panic("connect") },
		event:   func(*Socket, string, []json.RawMessage, func(...any)) { panic("event") },
	}
	s, url := newServer(t, Config{}, r)
	c := joinWS(t, url, `{"pid":"p","offset":"o"}`)
	c.send(`42["a"]`)
	c.send(`42["b"]`)
	waitFor(t, func() bool { return metrics.Value(s.metrics.panics) == 4 })
	c.ws.Close()
	waitFor(t, func() bool { return len(r.lines()) == 4 })
	if diff := cmp.Diff([]string{"connect", "event a null", "event b null", "disconnect transport close"}, lessBrackets(r.lines())); diff != "" {
		t.Error(diff)
	}
}

func TestAcks(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	srv, url := newServer(t, Config{}, r)
	c := joinWS(t, url, "")
	s := r.socket(t, 0)
	got := make(chan string, 10)
	ask := func(name string, timeout time.Duration) {
		t.Helper()
		err := s.EmitWithAck(name, timeout, []any{1}, func(args []json.RawMessage, err error) {
			got <- fmt.Sprint(name, " ", join(args), " ", err)
		})
		if err != nil {
			t.Fatal(err)
		}
		srv.Flush()
	}
	ask("answered", time.Minute)
	c.want(`421["answered",1]`)
	c.send(`431["yes"]`)
	c.send(`431["again"]`)
	c.send(`4399["nobody asked"]`)
	ask("late", time.Millisecond)
	ask("never", time.Minute)
	want := []string{`answered ["yes"] <nil>`, "late null " + ErrAckTimeout.Error()}
	for _, w := range want {
		if g := <-got; g != w {
			t.Errorf("got %q, want %q", g, w)
		}
	}
	c.ws.Close()
	if g, w := <-got, "never null "+ErrClosed.Error(); g != w {
		t.Errorf("got %q, want %q", g, w)
	}
	if err := s.EmitWithAck("x", time.Minute, nil, func([]json.RawMessage, error) { t.Error("called") }); !errors.Is(err, ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
	if err := s.Emit("disconnect"); err == nil {
		t.Error("a reserved name is taken")
	}
}

// TestConnectTimeout: a client that never joins is closed.
func TestConnectTimeout(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	s, url := newServer(t, Config{ConnectTimeout: 100 * time.Millisecond}, r)
	dialWS(t, url, "").wantEnd()
	dialPolling(t, url)
	waitFor(t, func() bool { return s.Stats().Drops[ReasonConnectTimeout] == 2 })
	if len(r.lines()) != 0 {
		t.Errorf("the handler was told %q", r.lines())
	}
}

// TestClose: with clients of every kind and in every state, Close ends them all in bounded time.
func TestClose(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	s, url := newServer(t, Config{}, r)
	joinWS(t, url, "")
	dialWS(t, url, "")
	joinPolling(t, url, "")
	hanging := joinPolling(t, url, "")
	r.socket(t, 2)
	half := dialPolling(t, url)
	dialWS(t, url, "&sid="+half.sid)
	probed := dialPolling(t, url)
	probing := dialWS(t, url, "&sid="+probed.sid)
	probing.send("2probe")
	probing.want("3probe")
	var bye sync.WaitGroup
	bye.Go(func() {
		if status, body := hanging.get(); status != http.StatusOK || body != "1" {
			t.Errorf("the hanging GET: %d %q", status, body)
		}
	})
	waitFor(t, func() bool {
		c := s.conn(hanging.sid)
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.getting
	})
	start := time.Now()
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 2*closeGrace {
		t.Errorf("took %v", took)
	}
	bye.Wait()
	if resp, err := http.Get(url + "/socket.io/?EIO=4&transport=polling"); err != nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a handshake afterwards: %v, %v", resp, err)
	} else {
		resp.Body.Close()
	}
	want := 3
	for _, line := range r.lines() {
		if line == "disconnect "+ReasonShutdown {
			want--
		}
	}
	if want != 0 {
		t.Errorf("the handler was told %q", r.lines())
	}
}

// TestCloseWithStuckHandler: Close does not wait for ever.
func TestCloseWithStuckHandler(t *testing.T) {
	t.Parallel()
	stuck := make(chan struct{})
	r := &recorder{event: func(*Socket, string, []json.RawMessage, func(...any)) { <-stuck }}
	s, url := newServer(t, Config{}, r)
	joinWS(t, url, "").send(`42["e"]`)
	waitFor(t, func() bool { return len(r.lines()) == 2 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Close(ctx); err == nil {
		t.Error("no error")
	}
	close(stuck)
}

// TestChunkedBody: the stock server reads a body of any size when its length is not announced.
func TestChunkedBody(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	s, url := newServer(t, Config{MaxInbound: 1000}, r)
	c := joinPolling(t, url, "")
	r.socket(t, 0)
	body := struct{ *strings.Reader }{strings.NewReader(`42["e","` + strings.Repeat("x", 5000) + `"]`)} // hides its length
	if status, _ := c.do(http.MethodPost, body); status != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d", status)
	}
	wantDrop(t, s, r, ReasonTooLarge)
}

// TestMalformedChunks: a body whose chunks are malformed is its sender's error.
func TestMalformedChunks(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"zz\r\n", "ffffffffffffffffff\r\n", "3\r\nabcd\r\n", "-1\r\n"} {
		r := &recorder{}
		_, url := newServer(t, Config{}, r)
		c := joinPolling(t, url, "")
		conn := connectTCP(t, url)
		tell(t, conn, "POST "+strings.TrimPrefix(c.url, url)+" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"+body)
		if res, _ := response(t, bufio.NewReader(conn)); res.StatusCode != http.StatusBadRequest {
			t.Errorf("%q: status %d", body, res.StatusCode)
		}
	}
}

// TestLargePacketByPolling: the stock server loses packets over 64 KiB in silence.
func TestLargePacketByPolling(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	_, url := newServer(t, Config{}, r)
	c := joinPolling(t, url, "")
	c.wantPost(`42["e","` + strings.Repeat("x", 200_000) + `"]`)
	waitFor(t, func() bool { lines := r.lines(); return len(lines[len(lines)-1]) > 200_000 })
}

func TestBadBodies(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"abc", "", "42", "\x1e", "42[\"e\"]\x1e", "bAAAA"} {
		t.Run(fmt.Sprintf("%q", body), func(t *testing.T) {
			t.Parallel()
			r := &recorder{}
			s, url := newServer(t, Config{}, r)
			c := joinPolling(t, url, "")
			r.socket(t, 0)
			if status, _ := c.post(body); status != http.StatusBadRequest {
				t.Errorf("status %d", status)
			}
			wantDrop(t, s, r, ReasonProtocol)
			if status, _ := c.get(); status != http.StatusBadRequest {
				t.Errorf("the session lives: %d", status)
			}
		})
	}
}

// TestOverlap: a second GET ends the session; the first one is told.
func TestOverlap(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	s, url := newServer(t, Config{}, r)
	c := joinPolling(t, url, "")
	r.socket(t, 0)
	var first sync.WaitGroup
	first.Go(func() {
		if status, body := c.get(); status != http.StatusOK || body != "1" {
			t.Errorf("the first GET: %d %q", status, body)
		}
	})
	waitFor(t, func() bool {
		conn := s.conn(c.sid)
		conn.mu.Lock()
		defer conn.mu.Unlock()
		return conn.getting
	})
	if status, _ := c.get(); status != http.StatusBadRequest {
		t.Errorf("the second GET: %d", status)
	}
	first.Wait()
	wantDrop(t, s, r, ReasonProtocol)
}

// TestAbortedGet: a GET whose client goes away ends the session at once.
func TestAbortedGet(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	_, url := newServer(t, Config{}, r)
	c := joinPolling(t, url, "")
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /socket.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: x\r\n\r\n", c.sid)
	waitFor(t, func() bool { return len(r.lines()) == 1 })
	conn.Close()
	waitFor(t, func() bool { lines := r.lines(); return lines[len(lines)-1] == "disconnect transport close" })
}
