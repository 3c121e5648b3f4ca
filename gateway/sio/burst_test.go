package sio

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const burst = 1000

func push(t testing.TB, s *Socket, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		if err := s.Push(numbered(n)); err != nil {
			t.Errorf("push %d: %v", n, err)
			return
		}
	}
}

func TestBurstWebsocket(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	_, url := newServer(t, Config{}, r)
	c := joinWS(t, url, "")
	go push(t, r.socket(t, 0), 0, burst)
	var got []string
	for range burst {
		got = append(got, c.want("42"))
	}
	wantNumbered(t, got)
}

func TestBurstPolling(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	_, url := newServer(t, Config{}, r)
	c := joinPolling(t, url, "")
	go push(t, r.socket(t, 0), 0, burst)
	wantNumbered(t, c.events(burst))
}

// TestBurstUpgrade pushes a stream while the client goes from polling to
// websocket: nothing may be lost, doubled or overtaken.
func TestBurstUpgrade(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	s, url := newServer(t, Config{}, r)
	var clients sync.WaitGroup
	for i := range 20 {
		c := joinPolling(t, url, "")
		sock := r.socket(t, i)
		clients.Go(func() {
			var pusher sync.WaitGroup
			pusher.Go(func() {
				for n := 0; n < burst-10; n += 10 { // spread over the upgrade
					push(t, sock, n, n+10)
					<-time.After(200 * time.Microsecond)
				}
				waitFor(t, func() bool { return sock.Transport() == "websocket" })
				push(t, sock, burst-10, burst)
			})
			got := c.events(1)
			ws := dialWS(t, url, "&sid="+c.sid)
			ws.send("2probe")
			// The last GET ends, with or without data, once the server has seen the probe.
			_, body := c.get()
			got = append(got, eventsIn(body)...)
			ws.want("3probe")
			ws.send("5")
			for len(got) < burst {
				got = append(got, eventsIn(ws.want(""))...)
			}
			pusher.Wait()
			wantNumbered(t, got)
			if status, _ := c.get(); status != 400 {
				t.Errorf("GET after the upgrade: %d", status)
			}
		})
	}
	clients.Wait()
	if n := s.Stats(); n.Websocket != 20 || n.Polling != 0 {
		t.Errorf("stats %+v", n)
	}
}

func eventsIn(payload string) (events []string) {
	for text := range strings.SplitSeq(payload, "\x1e") {
		if strings.HasPrefix(text, "42") {
			events = append(events, text)
		}
	}
	return events
}

// TestEventsInOrder: the library reorders what a client sends.
func TestEventsInOrder(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"websocket", "polling"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			r := &recorder{}
			_, url := newServer(t, Config{}, r)
			want := []string{"connect"}
			var sent []string
			for n := range 200 {
				want = append(want, fmt.Sprintf("event e [%d]", n))
				sent = append(sent, fmt.Sprintf(`42["e",%d]`, n))
			}
			// The events come before the namespace is joined: they wait.
			var leave func()
			if transport == "polling" {
				c := dialPolling(t, url)
				c.wantPost("40\x1e" + strings.Join(sent, "\x1e"))
				leave = func() { c.wantPost("41") }
			} else {
				c := dialWS(t, url, "")
				for _, text := range append([]string{"40"}, sent...) {
					c.send(text)
				}
				leave = func() { c.send("41") }
			}
			waitFor(t, func() bool { return len(r.lines()) == len(want) })
			leave()
			want = append(want, "disconnect client namespace disconnect")
			waitFor(t, func() bool { return len(r.lines()) == len(want) })
			if diff := cmp.Diff(want, r.lines()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestEmitKeepsItsPlace: Emit and Push share one queue.
func TestEmitKeepsItsPlace(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	_, url := newServer(t, Config{}, r)
	c := joinWS(t, url, "")
	s := r.socket(t, 0)
	push(t, s, 0, 1)
	if err := s.Emit("connectionId", "abc"); err != nil {
		t.Fatal(err)
	}
	push(t, s, 1, 2)
	wantNumbered(t, []string{c.want("")})
	if got := c.want(""); got != `42["connectionId","abc",null]` {
		t.Errorf("got %q: a string that comes last is taken for an offset", got)
	}
	c.want(`42["n",{"n":1},"1-1"]`)
}

func TestWaitDrained(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	_, url := newServer(t, Config{}, r)
	c := joinPolling(t, url, "")
	s := r.socket(t, 0)
	push(t, s, 0, 10)
	if s.Pending() == 0 {
		t.Error("nothing pending while nobody polls")
	}
	done := make(chan error, 1)
	go func() { done <- s.WaitDrained(t.Context(), 1) }()
	wantNumbered(t, c.events(10))
	if err := <-done; err != nil || s.Pending() != 0 {
		t.Errorf("drained: %v, pending %d", err, s.Pending())
	}

	push(t, s, 10, 11)
	gone, cancel := context.WithCancelCause(t.Context())
	cancel(errProbe)
	if err := s.WaitDrained(gone, 1); !errors.Is(err, errProbe) {
		t.Errorf("cancelled: %v", err)
	}
	go func() { done <- s.WaitDrained(t.Context(), 1) }()
	s.Close("test")
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}
