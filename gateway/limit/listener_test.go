package limit

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"
)

// bounded is a Listener on a port of its own and what it has said of its limits.
type bounded struct {
	*Listener
	t *testing.T

	mu      sync.Mutex // guards what follows
	reached map[ListenerLimit]int
	peer    netip.Addr // of the next connections
}

func newBounded(t *testing.T, cfg ListenerConfig) *bounded {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	b := &bounded{t: t, reached: make(map[ListenerLimit]int)}
	cfg.Reached = func(l ListenerLimit, _ netip.Addr) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.reached[l]++
	}
	b.Listener = Listen(l, cfg)
	b.Listener.peer = func(net.Conn) netip.Addr {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.peer
	}
	return b
}

// from makes the next connections come from an address.
func (b *bounded) from(addr string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.peer = netip.MustParseAddr(addr)
}

func (b *bounded) dial() net.Conn {
	b.t.Helper()
	client, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = client.Close() })
	return client
}

// connect returns both ends of a connection that is accepted.
func (b *bounded) connect() (client net.Conn, server *Conn) {
	b.t.Helper()
	client = b.dial()
	nc, err := b.Accept()
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = nc.Close() })
	return client, nc.(*Conn)
}

func (b *bounded) counts(l ListenerLimit, want int) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.reached[l] != want {
		b.t.Errorf("limit %d was reached %d times, want %d", l, b.reached[l], want)
	}
}

// closed waits until the other end has closed a connection.
func closed(t *testing.T, nc net.Conn) {
	t.Helper()
	_ = nc.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := nc.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("reading from a connection that is to be closed: %v", err)
	}
}

// TestListenerEvictsIdle: the connection that has been idle the longest goes for a new
// one, one that is in use never does.
func TestListenerEvictsIdle(t *testing.T) {
	t.Parallel()
	b := newBounded(t, ListenerConfig{Most: 3})
	b.from("192.0.2.1")
	_, used := b.connect()
	first, _ := b.connect()
	second, other := b.connect()
	used.SetIdle(false)
	other.SetIdle(false)
	other.SetIdle(true) // idle for a shorter time than first
	b.connect()
	closed(t, first)
	b.connect()
	closed(t, second)
	b.counts(IdleEvicted, 2)
	if n := b.Open(); n != 3 {
		t.Errorf("%d connections are open, want 3", n)
	}
	if _, err := used.Write([]byte("x")); err != nil {
		t.Errorf("the connection in use: %v", err)
	}
}

// TestListenerIdle: so many connections may be idle, new ones and those that were in use.
func TestListenerIdle(t *testing.T) {
	t.Parallel()
	b := newBounded(t, ListenerConfig{Most: 100, Idle: 2})
	b.from("192.0.2.1")
	_, used := b.connect()
	used.SetIdle(false)
	first, _ := b.connect()
	second, _ := b.connect()
	b.connect()
	closed(t, first)
	used.SetIdle(true)
	closed(t, second)
	b.counts(IdleEvicted, 2)
	if n := b.Open(); n != 2 {
		t.Errorf("%d connections are open, want 2", n)
	}
}

// TestListenerRefuses: without an idle connection the new one is refused, until one is
// closed, however often.
func TestListenerRefuses(t *testing.T) {
	t.Parallel()
	b := newBounded(t, ListenerConfig{Most: 2})
	b.from("192.0.2.1")
	_, one := b.connect()
	_, two := b.connect()
	one.SetIdle(false)
	two.SetIdle(false)
	refused := b.dial()
	accepted := make(chan net.Conn)
	go func() {
		nc, err := b.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- nc
	}()
	closed(t, refused)
	b.counts(TotalReached, 1)
	for range 2 {
		_ = one.Close()
	}
	one.SetIdle(true) // of no effect
	b.dial()
	nc := <-accepted
	if n := b.Open(); n != 2 {
		t.Errorf("%d connections are open, want 2", n)
	}
	_, _ = two.Close(), nc.Close()
	if n, idle := b.Open(), b.idle.Len(); n != 0 || idle != 0 {
		t.Errorf("%d connections are open and %d idle, want none", n, idle)
	}
}

// TestListenerPerAddress: an address may hold so many connections, a proxy and this
// machine as many as there are.
func TestListenerPerAddress(t *testing.T) {
	t.Parallel()
	proxy := netip.MustParseAddr("10.0.0.1")
	b := newBounded(t, ListenerConfig{Most: 100, PerAddress: 2, Exempt: func(a netip.Addr) bool { return a == proxy }})
	for _, free := range []string{"10.0.0.1", "127.0.0.1", "::1"} {
		b.from(free)
		for range 5 {
			b.connect()
		}
	}
	b.from("2001:db8::1")
	_, one := b.connect()
	b.from("2001:db8::2") // the same /64
	b.connect()
	refused := b.dial()
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		if nc, err := b.Accept(); err == nil {
			_ = nc.Close()
		}
	}()
	closed(t, refused)
	b.counts(AddressReached, 1)
	_ = one.Close()
	b.dial()
	<-accepted
	b.counts(AddressReached, 1)
	b.counts(IdleEvicted, 0)
}

// TestConnOf: what a connection counts as is found below TLS.
func TestConnOf(t *testing.T) {
	t.Parallel()
	b := newBounded(t, ListenerConfig{})
	_, server := b.connect()
	for name, tt := range map[string]struct {
		nc   net.Conn
		want *Conn
	}{
		"itself":    {server, server},
		"TLS":       {tls.Server(server, &tls.Config{MinVersion: tls.VersionTLS12}), server},
		"uncounted": {server.TCPConn, nil},
	} {
		if got := ConnOf(tt.nc); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	var _ io.ReaderFrom = server // so that responses are written as to plain TCP
}
