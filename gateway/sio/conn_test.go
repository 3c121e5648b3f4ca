package sio

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/codewar/socketbridge/internal/metrics"
)

// TestLeave: a client that leaves the namespace keeps its connection, gets nothing more,
// and is connected anew when it wants to come back.
func TestLeave(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	server, url := newServer(t, Config{PingInterval: 200 * time.Millisecond}, r)
	c := joinWS(t, url, "")
	s := r.socket(t, 0)
	c.send("41")
	<-s.Context().Done()
	waitFor(t, func() bool { return len(r.lines()) == 2 && r.lines()[1] == "disconnect "+ReasonClientLeft })
	if err := s.Push(numbered(0)); !errors.Is(err, ErrClosed) {
		t.Errorf("push: %v", err)
	}
	if err := s.WaitDrained(t.Context(), 1); !errors.Is(err, ErrClosed) {
		t.Errorf("wait: %v", err)
	}
	for range 3 {
		c.want("2")
		c.send("3")
	}
	c.send("40")
	c.wantEnd()
	c = joinWS(t, url, "")
	r.socket(t, 1)
	c.send("41") // as the JavaScript client leaves
	c.ws.Close()
	waitFor(t, func() bool { return metrics.Value(server.metrics.ends[ReasonClientLeft]) == 2 })
	if lasted := metrics.ReadTimes(server.metrics.seconds); lasted.Count != 2 || lasted.Sum < 100*time.Millisecond {
		t.Errorf("%d connections are measured, %v in all, want 2", lasted.Count, lasted.Sum)
	}
}

// TestLeaveForGood: a client that has left says nothing but CONNECT.
func TestLeaveForGood(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	s, url := newServer(t, Config{}, r)
	c := joinWS(t, url, "")
	c.send("41")
	c.send(`42["e"]`)
	c.wantEnd()
	if n := s.Stats().Drops[ReasonProtocol]; n != 1 || len(r.lines()) != 2 {
		t.Errorf("%d drops, handler was told %q", n, r.lines())
	}
}

// TestCloseOfClient: a GET that hangs is answered with a noop when the client closes the
// session, which is gone then.
func TestCloseOfClient(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	s, url := newServer(t, Config{}, r)
	c := joinPolling(t, url, "")
	conn := r.socket(t, 0).conn
	answer := make(chan string, 1)
	go func() {
		_, body := c.get()
		answer <- body
	}()
	waitFor(t, func() bool { conn.mu.Lock(); defer conn.mu.Unlock(); return conn.getting })
	c.wantPost("1")
	if got := <-answer; got != "6" {
		t.Errorf("the GET is answered %q", got)
	}
	if status, body := c.get(); status != http.StatusBadRequest || s.conn(c.sid) != nil {
		t.Errorf("then %d %q", status, body)
	}
}

// TestPacketsWithoutMeaning: what is of no meaning from a client does no harm, and is not
// endless.
func TestPacketsWithoutMeaning(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	s, url := newServer(t, Config{}, r)
	c := joinWS(t, url, "")
	for _, packet := range []string{"0", "5", "6"} {
		c.send(packet)
	}
	c.send(`42["e"]`)
	waitFor(t, func() bool { return len(r.lines()) == 2 })
	for range maxIdleFrames {
		c.try("6")
	}
	c.wantEnd()
	if n := s.Stats().Drops[ReasonRateLimited]; n != 1 {
		t.Errorf("%d drops, want 1", n)
	}
}

// TestBinary: an event with binary data reaches the Handler with placeholders, which it
// refuses like any other argument; the data is discarded and the connection stays.
func TestBinary(t *testing.T) {
	t.Parallel()
	const event, want = `452-7["e",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`, `event e [{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`
	r := &recorder{event: func(_ *Socket, _ string, _ []json.RawMessage, ack func(...any)) { ack("no") }}
	_, url := newServer(t, Config{}, r)
	ws := joinWS(t, url, "")
	for range 2 {
		ws.send(event)
		for range 2 {
			if err := ws.ws.WriteMessage(websocket.BinaryMessage, make([]byte, 10_000)); err != nil {
				t.Fatal(err)
			}
		}
		ws.want(`437["no"]`)
	}
	polling := joinPolling(t, url, "")
	polling.wantPost(event + "\x1ebAQI=\x1ebAQI=\x1e" + event + "\x1ebAQI=")
	waitFor(t, func() bool { return len(r.lines()) == 5 }) // the last event's second attachment is missing
	polling.wantPost("bAQI=")
	waitFor(t, func() bool { return len(r.lines()) == 6 })
	for i, line := range r.lines() {
		if line != want && line != "connect" {
			t.Errorf("line %d: %s", i, line)
		}
	}
}
