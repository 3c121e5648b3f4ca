package sio

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// payloads polls until n events have come and returns the answers.
func (c *pollClient) payloads(n int) (payloads [][]string) {
	c.t.Helper()
	for got := 0; got < n; {
		status, body := c.get()
		if status != http.StatusOK {
			c.t.Fatalf("after %d events: %d %q", got, status, body)
		}
		packets := strings.Split(body, "\x1e")
		payloads = append(payloads, packets)
		got += len(packets)
	}
	return payloads
}

// TestPacketsOfAnAnswer: an answer holds as many packets as python-engineio takes, and
// the next GET gets the rest at once, in order.
func TestPacketsOfAnAnswer(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 15, 16, 17, 32, 33, 60} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			r := &recorder{}
			_, url := newServer(t, Config{}, r)
			c := joinPolling(t, url, "")
			s := r.socket(t, 0)
			push(t, s, 0, n)
			payloads := c.payloads(n)
			if want := (n + maxPayloadPackets - 1) / maxPayloadPackets; len(payloads) != want {
				t.Errorf("%d answers, want %d", len(payloads), want)
			}
			var all []string
			for i, packets := range payloads {
				if i < len(payloads)-1 && len(packets) != maxPayloadPackets || len(packets) > maxPayloadPackets {
					t.Errorf("answer %d holds %d packets", i, len(packets))
				}
				all = append(all, packets...)
			}
			wantNumbered(t, all)
			if len(all) != n {
				t.Errorf("%d packets, want %d", len(all), n)
			}
			waitFor(t, func() bool { return s.Pending() == 0 }) // counted when the answer is written
		})
	}
}

// TestRestAfterClose: a client gets all that was queued before its socket was closed, in
// as many answers as that takes, and then the close packet.
func TestRestAfterClose(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	_, url := newServer(t, Config{}, r)
	c := joinPolling(t, url, "")
	s := r.socket(t, 0)
	push(t, s, 0, 100)
	s.Close("deploy")
	wantNumbered(t, c.events(100))
	if status, body := c.get(); status != http.StatusOK || body != "1" {
		t.Errorf("then %d %q, want the close packet", status, body)
	}
}

// TestRestAfterCloseSlowly: a client that fetches the rest of its queue over a slow network
// gets all of it, and one that is too slow is given up in time.
func TestRestAfterCloseSlowly(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		every   time.Duration
		packets int // of 100
	}{
		{time.Second, 100},
		{closeGrace - 1, 5 * maxPayloadPackets}, // within pollGrace
		{closeGrace + 1, 0},
	} {
		t.Run(tt.every.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, c := pollingConn(t, Config{})
				c.takePayload(false) // OPEN
				for n := range 100 {
					if err := c.push(numbered(n)); err != nil {
						t.Fatal(err)
					}
				}
				c.end(ReasonShutdown, flush)
				got := 0
				for time.Sleep(tt.every); s.conn(c.sid) != nil; time.Sleep(tt.every) {
					payload, _ := c.takePayload(false)
					got += bytes.Count(payload.b, []byte("42["))
				}
				if got != tt.packets {
					t.Errorf("%d packets, want %d", got, tt.packets)
				}
				if err := s.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestRestAfterUpgrade: what an answer did not hold goes over the websocket.
func TestRestAfterUpgrade(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	_, url := newServer(t, Config{}, r)
	c := joinPolling(t, url, "")
	ws := dialWS(t, url, "&sid="+c.sid)
	ws.send("2probe")
	ws.want("3probe")
	push(t, r.socket(t, 0), 0, 40)
	got := c.events(1)
	ws.send("5")
	for len(got) < 40 {
		got = append(got, ws.want("42"))
	}
	wantNumbered(t, got)
}

// TestPacketsOfABody: a body may hold any number of packets that the limits allow.
func TestPacketsOfABody(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	_, url := newServer(t, Config{}, r)
	c := joinPolling(t, url, "")
	c.wantPost(strings.TrimSuffix(strings.Repeat(`42["n"]`+"\x1e", 200), "\x1e"))
	waitFor(t, func() bool { return len(r.lines()) == 201 })
}
