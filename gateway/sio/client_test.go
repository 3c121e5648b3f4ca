package sio

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codewar/socketbridge/gateway/siotest"
)

// The tests of this file use the official JavaScript client.

// ways are how a browser may come.
var ways = map[string]siotest.Options{
	"websocket":             {Transports: []string{"websocket"}},
	"polling":               {Transports: []string{"polling"}},
	"polling then upgrade":  {},
	"websocket, never down": {Transports: []string{"websocket", "polling"}},
}

func TestClient(t *testing.T) {
	t.Parallel()
	for name, opts := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			acked := make(chan []json.RawMessage, 1)
			admitted := make(chan Auth, 1)
			r := &recorder{admit: func(s *Socket) *Refusal { admitted <- s.Auth(); return nil }, event: func(s *Socket, name string, args []json.RawMessage, ack func(...any)) {
				switch name {
				case "echo":
					_ = s.Emit("echo", anySlice(args)...)
				case "sum":
					ack(map[string]any{"ok": true}, 3)
					ack("twice")
				}
			}}
			srv, url := newServer(t, Config{}, r)
			opts.Auth = map[string]any{"token": "abc"}
			c := siotest.Start(t).Dial(url, opts)
			connected := c.Connected()
			s := r.socket(t, 0)
			if connected.ID != s.ID() || connected.Recovered || s.Recovered() || s.PID() == "" {
				t.Errorf("connected %+v; socket %q, pid %q", connected, s.ID(), s.PID())
			}
			if diff := cmp.Diff(Auth{Token: "abc"}, <-admitted); diff != "" {
				t.Error(diff)
			}
			waitFor(t, func() bool { return s.Auth() == Auth{} }) // not kept after Connect
			if name == "polling then upgrade" {
				if m := c.Upgraded(); m.Transport != "websocket" {
					t.Errorf("upgraded to %q", m.Transport)
				}
				waitFor(t, func() bool { return s.Transport() == "websocket" })
			}

			c.Emit("echo", 1, "two", nil)
			if got := join(c.EventNamed("echo").Args); got != `[1,"two",null]` {
				t.Errorf("echo %s", got)
			}
			if got := join(c.EmitWithAck("sum", 1, 2)); got != `[{"ok":true},3]` {
				t.Errorf("acknowledged %s", got)
			}
			err := s.EmitWithAck("question", 10*time.Second, []any{"x"}, func(args []json.RawMessage, err error) {
				if err != nil {
					t.Errorf("question: %v", err)
				}
				acked <- args
			})
			if err != nil {
				t.Fatal(err)
			}
			srv.Flush()
			if got := join(<-acked); got != `["x"]` {
				t.Errorf("answer %s", got)
			}

			// Spelling and order survive byte by byte.
			for n := range 300 {
				payload := fmt.Appendf(nil, `{"z":%d, "a":1.50,"é":"\u00e9"}`, n)
				if err := s.Push(EventPacket("submissionUpdate", payload, fmt.Sprint("1-", n))); err != nil {
					t.Fatal(err)
				}
			}
			for n := range 300 {
				want := fmt.Sprintf(`2["submissionUpdate",{"z":%d, "a":1.50,"é":"\u00e9"},"1-%d"]`, n, n)
				if got := c.EventNamed("submissionUpdate"); got.Raw != want {
					t.Fatalf("event %d is %q, want %q", n, got.Raw, want)
				}
			}

			c.Disconnect()
			waitFor(t, func() bool { return len(r.lines()) > 0 && strings.HasPrefix(r.lines()[len(r.lines())-1], "disconnect") })
			if got := r.lines()[len(r.lines())-1]; got != "disconnect client namespace disconnect" {
				t.Errorf("the server saw %q", got)
			}
		})
	}
}

// TestDisconnect: after Disconnect the client stays away, after Close it comes
// back; either way it gets what was queued before.
func TestDisconnect(t *testing.T) {
	t.Parallel()
	for name, opts := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &recorder{}
			_, url := newServer(t, Config{}, r)
			c := siotest.Start(t).Dial(url, opts)
			c.Connected()
			for range 3 {
				n := len(r.lines()) / 2 // sockets before
				s := r.socket(t, n)
				push(t, s, 0, 50)
				s.Close("deploy")
				for range 50 {
					c.EventNamed("n")
				}
				if got := c.Disconnected().Reason; got != "transport close" {
					t.Errorf("Close: the client says %q", got)
				}
				c.Connected()
				waitFor(t, func() bool { return len(r.lines()) == 2*n+3 })
			}
			s := r.socket(t, 3)
			push(t, s, 0, 50)
			s.Disconnect("kicked")
			for range 50 {
				c.EventNamed("n")
			}
			if got := c.Disconnected().Reason; got != "io server disconnect" {
				t.Errorf("Disconnect: the client says %q", got)
			}
			waitFor(t, func() bool { return len(r.lines()) == 8 })
			if got := r.lines()[7]; got != "disconnect kicked" {
				t.Errorf("the handler was told %q", got)
			}
			if err := s.Push(numbered(1)); !errors.Is(err, ErrClosed) {
				t.Errorf("push afterwards: %v", err)
			}
		})
	}
}

// TestRecovered: the stock client presents its private id and its offset, and is
// told that it has been recovered.
func TestRecovered(t *testing.T) {
	t.Parallel()
	for name, opts := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var first atomic.Pointer[Socket]
			r := &recorder{}
			r.restore = func(pid, offset string) (Restored, bool) {
				s := first.Load()
				if s == nil || pid != s.PID() {
					return Restored{}, false
				}
				return Restored{ID: s.ID(), Data: offset}, true
			}
			_, url := newServer(t, Config{}, r)
			c := siotest.Start(t).Dial(url, opts)
			id := c.Connected().ID
			s := r.socket(t, 0)
			first.Store(s)
			push(t, s, 0, 8)
			for range 8 {
				c.EventNamed("n")
			}
			c.Drop()
			c.Disconnected()
			if again := c.Connected(); !again.Recovered || again.ID != id {
				t.Errorf("came back as %+v, was %q", again, id)
			}
			s2 := r.socket(t, 1)
			if !s2.Recovered() || s2.ID() != id || s2.PID() != s.PID() || s2.Data() != "1-7" {
				t.Errorf("recovered %v, id %q, pid %q, data %v", s2.Recovered(), s2.ID(), s2.PID(), s2.Data())
			}
			push(t, s2, 8, 9)
			if got := c.EventNamed("n").Raw; got != `2["n",{"n":8},"1-8"]` {
				t.Errorf("then %q", got)
			}
		})
	}
}
