package sio

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// padded is an event that is n bytes long, about.
func padded(i, n int) *Packet {
	return EventPacket("n", fmt.Appendf(nil, `{"n":%d,"pad":%q}`, i, strings.Repeat("x", n)), "")
}

// wantInOrder reads events until it has had so many, each after the one before.
func wantInOrder(t *testing.T, c *wsClient, events int) {
	t.Helper()
	for i := range events {
		c.want(fmt.Sprintf(`42["n",{"n":%d,`, i))
	}
}

// TestFlush: what was queued for many sockets goes out together, in order, also
// when it is pushed or queued from elsewhere meanwhile.
func TestFlush(t *testing.T) {
	t.Parallel()
	const sockets, rounds, each = 96, 20, 5
	r := &recorder{}
	s, url := newServer(t, Config{}, r)
	clients := make([]*wsClient, sockets)
	for i := range clients {
		clients[i] = joinWS(t, url, "")
		c := r.socket(t, i).conn
		c.mu.Lock()
		if c.link.raw == nil {
			t.Error("a plain TCP connection is written by waiting only")
		}
		c.mu.Unlock()
	}
	var flushers sync.WaitGroup
	for range 2 {
		flushers.Go(func() {
			for range rounds * each {
				s.Flush()
			}
		})
	}
	n := 0
	for range rounds {
		for range each {
			for _, to := range r.sockets {
				put := to.Queue
				if n%7 == 0 {
					put = to.Push
				}
				if err := put(padded(n, 10)); err != nil {
					t.Fatal(err)
				}
			}
			n++
		}
		s.Flush()
	}
	flushers.Wait()
	for _, c := range clients {
		wantInOrder(t, c, n)
	}
}

// TestFlushWaitsForNobody: a client that does not read keeps neither Flush nor the
// others waiting, and gets everything when it reads again, however long after.
func TestFlushWaitsForNobody(t *testing.T) {
	t.Parallel()
	const events, size, patience = 400, 64 << 10, 2 * time.Second
	r := &recorder{}
	s, url := newServer(t, Config{MaxPending: 2 * events * size, WriteTimeout: patience}, r)
	sleeps := joinWS(t, url, "")
	asleep := r.socket(t, 0)
	reads := joinWS(t, url, "")
	awake := r.socket(t, 1)
	for i := range events {
		if err := asleep.Queue(padded(i, size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := awake.Queue(padded(0, 10)); err != nil {
		t.Fatal(err)
	}
	s.Flush()
	wantInOrder(t, reads, 1)
	if asleep.Pending() < 2*chunk {
		t.Fatalf("%d bytes pending: the system took everything, so nothing was tried", asleep.Pending())
	}
	wantInOrder(t, sleeps, events)
	// The writes that waited had a deadline. It must not be that of later ones.
	<-time.After(patience + 100*time.Millisecond)
	if err := asleep.Queue(padded(0, 10)); err != nil {
		t.Fatal(err)
	}
	s.Flush()
	wantInOrder(t, sleeps, 1)
}

// TestFlushStalled: a client that never reads is closed as slow, by the write that
// waits for it.
func TestFlushStalled(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	s, url := newServer(t, Config{MaxPending: 64 << 20, WriteTimeout: 100 * time.Millisecond}, r)
	joinWS(t, url, "")
	to := r.socket(t, 0)
	for i := range 400 {
		if err := to.Queue(padded(i, 64<<10)); err != nil {
			t.Fatal(err)
		}
	}
	s.Flush()
	waitFor(t, func() bool { return s.Stats().Drops[ReasonSlow] == 1 })
}

// TestFlushPolling: a client that polls is woken without a Flush.
func TestFlushPolling(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	s, url := newServer(t, Config{}, r)
	c := joinPolling(t, url, "")
	to := r.socket(t, 0)
	if err := to.Queue(numbered(0)); err != nil {
		t.Fatal(err)
	}
	wantNumbered(t, c.events(1))
	s.Flush()
}
