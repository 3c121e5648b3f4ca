package sio

import (
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// pollingConn begins a polling session without a network, for a bubble.
func pollingConn(t *testing.T, cfg Config) (*Server, *conn) {
	t.Helper()
	s := New(cfg, &recorder{}, slog.New(slog.DiscardHandler))
	if !s.admit() {
		t.Fatal("not admitted")
	}
	r := httptest.NewRequest("GET", "/socket.io/?EIO=4&transport=polling", nil)
	return s, s.handshake(&request{header: r.Header}, netip.Addr{}, pollingTransport, s.memory.Open(netip.Addr{}))
}

func TestHeartbeat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, c := pollingConn(t, Config{ConnectTimeout: time.Hour})
		take := func() string {
			synctest.Wait()
			payload, _ := c.takePayload(false)
			if payload == nil {
				return ""
			}
			return string(payload.b)
		}
		take() // OPEN
		for range 3 {
			time.Sleep(25*time.Second - 1)
			if got := take(); got != "" {
				t.Errorf("early: %q", got)
			}
			_ = c.receive([]byte("3")) // of no effect: nobody asked
			time.Sleep(time.Nanosecond)
			if got := take(); got != "2" {
				t.Errorf("after the interval: %q", got)
			}
			time.Sleep(59 * time.Second)
			if err := c.receive([]byte("3")); err != nil || c.hasEnded() {
				t.Fatal("a pong in time does not count")
			}
		}
		time.Sleep(25 * time.Second)
		time.Sleep(60*time.Second - 1)
		synctest.Wait()
		if c.hasEnded() {
			t.Error("ended before the timeout")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if !c.hasEnded() || s.Stats().Drops[ReasonPingTimeout] != 1 {
			t.Error("not dropped after the timeout")
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestLinger: what was queued for a polling client waits for it, for a while.
func TestLinger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, c := pollingConn(t, Config{})
		c.end("test", flush)
		time.Sleep(closeGrace - 1)
		synctest.Wait()
		if s.conn(c.sid) == nil {
			t.Error("gone too early")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if s.conn(c.sid) != nil {
			t.Error("not gone")
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestLimiter(t *testing.T) {
	t.Parallel()
	var l limiter
	now := time.Now()
	for n := range 250 {
		if got, want := l.over(now.Add(time.Duration(n)*time.Second), 40), n%60 >= 40; got != want {
			t.Errorf("event %d: over %v", n, got)
		}
	}
	if l.over(now, 0) {
		t.Error("over no limit")
	}
}
