package limit

import (
	"container/list"
	"context"
	"net"
	"net/netip"
	"sync"
)

// ListenerConfig bounds the connections of a [Listener].
type ListenerConfig struct {
	Most       int // connections at a time; 0 is no limit
	Idle       int // idle connections at a time; 0 is no limit
	PerAddress int // connections of one address at a time; 0 is no limit
	// Exempt reports addresses to which PerAddress does not apply, beside those of this
	// machine: proxies, which forward the requests of many clients. Nil: no others.
	Exempt func(netip.Addr) bool
	// Reached is called for each connection that a limit has closed. It must not block.
	Reached func(l ListenerLimit, from netip.Addr)
}

// ListenerLimit says why a [Listener] closed a connection.
type ListenerLimit int

// Limits of a [Listener].
const (
	// TotalReached: a new connection was refused, all others were in use.
	TotalReached ListenerLimit = iota
	// AddressReached: a new connection was refused, its address had too many.
	AddressReached
	// IdleEvicted: the connection that had been idle the longest was closed for a new one.
	IdleEvicted
)

// Listener accepts a limited number of connections. When there are too many, it closes the
// connection that has been idle for the longest time for a new one; without an idle connection
// it closes the new one. A connection is idle until its owner calls [Conn.SetIdle] with false,
// when a request has been read.
//
// Accept returns a [*Conn] for each *net.TCPConn of the listener below; other connections are
// passed on and not counted.
type Listener struct {
	net.Listener
	cfg       ListenerConfig
	addresses *ConcurrencyLimiter
	peer      func(net.Conn) netip.Addr // of a connection; tests have others

	mu   sync.Mutex // guards what follows
	open int
	idle list.List // of *Conn, the one that has been idle the longest at the front
}

// Listen bounds the connections of l.
func Listen(l net.Listener, cfg ListenerConfig) *Listener {
	if cfg.Reached == nil {
		cfg.Reached = func(ListenerLimit, netip.Addr) {}
	}
	return &Listener{Listener: l, cfg: cfg, addresses: NewConcurrencyLimiter(cfg.PerAddress), peer: peerOf}
}

// Open returns how many connections are open.
func (l *Listener) Open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

// Accept returns the next connection that no limit refuses.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		tcp, ok := nc.(*net.TCPConn)
		if err != nil || !ok {
			return nc, err
		}
		if c := l.admit(tcp); c != nil {
			return c, nil
		}
		_ = tcp.Close() // the client learns nothing else
	}
}

// admit counts a connection, or returns nil when a limit refuses it.
func (l *Listener) admit(tcp *net.TCPConn) *Conn {
	c := &Conn{TCPConn: tcp, l: l}
	from := l.peer(tcp)
	if l.cfg.Exempt == nil || !l.cfg.Exempt(from) {
		if !l.addresses.Take(from) {
			l.cfg.Reached(AddressReached, from)
			return nil
		}
		c.from = from
	}
	oldest, ok := l.enter(c)
	if !ok {
		l.addresses.Release(c.from)
		l.cfg.Reached(TotalReached, from)
		return nil
	}
	l.evict(oldest)
	return c
}

// enter counts c as open and idle. When there are too many connections, oldest is to be closed
// for it; until then there is one more than the limit. When none can be closed, c is not
// counted and ok is false.
func (l *Listener) enter(c *Conn) (oldest *Conn, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	full := l.cfg.Most > 0 && l.open >= l.cfg.Most
	if full || l.tooManyIdle() {
		if oldest = l.takeOldest(); oldest == nil && full {
			return nil, false
		}
	}
	l.open++
	c.open, c.place = true, l.idle.PushBack(c)
	return oldest, true
}

// takeOldest removes the connection that has been idle the longest from the idle ones. It
// returns nil when there is none. With l.mu held.
func (l *Listener) takeOldest() *Conn {
	front := l.idle.Front()
	if front == nil {
		return nil
	}
	c := l.idle.Remove(front).(*Conn)
	c.place = nil
	return c
}

// tooManyIdle reports whether one more exceeds the limit. With l.mu held.
func (l *Listener) tooManyIdle() bool { return l.cfg.Idle > 0 && l.idle.Len() >= l.cfg.Idle }

// evict closes a connection from takeOldest, if there is one.
func (l *Listener) evict(c *Conn) {
	if c != nil {
		l.cfg.Reached(IdleEvicted, l.peer(c.TCPConn))
		_ = c.Close() // its reader fails
	}
}

// leave stops counting c. It may be called again.
func (l *Listener) leave(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !c.open {
		return
	}
	c.open = false
	l.open--
	if c.place != nil {
		l.idle.Remove(c.place)
		c.place = nil
	}
	l.addresses.Release(c.from)
}

// Conn is a connection that a [Listener] counts until it is closed. Safe for concurrent
// use, as a net.Conn is.
type Conn struct {
	*net.TCPConn
	l    *Listener
	from netip.Addr // the address for which it counts; zero when that is exempt

	// Guarded by l.mu.
	open  bool
	place *list.Element // among the idle ones; nil: it is in use, or closed
}

// ConnOf returns the [Conn] below a connection that has a method NetConn, such as that
// of TLS, or nil.
func ConnOf(nc net.Conn) *Conn {
	for {
		switch c := nc.(type) {
		case *Conn:
			return c
		case interface{ NetConn() net.Conn }:
			nc = c.NetConn()
		default:
			return nil
		}
	}
}

// connKey is the key of a [Conn] in a context.
type connKey struct{}

// WithConn is a ConnContext for an HTTP server: [ConnFrom] then returns the connection of a
// request.
func WithConn(ctx context.Context, nc net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, ConnOf(nc))
}

// ConnFrom returns the [Conn] of a request, or nil.
func ConnFrom(ctx context.Context) *Conn {
	c, _ := ctx.Value(connKey{}).(*Conn)
	return c
}

// SetIdle says whether the connection may be closed for a new one.
func (c *Conn) SetIdle(idle bool) { c.l.evict(c.setIdle(idle)) }

// setIdle returns the connection that must be closed because too many are idle, or nil.
func (c *Conn) setIdle(idle bool) (oldest *Conn) {
	l := c.l
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !c.open || idle == (c.place != nil):
	case idle:
		if l.tooManyIdle() {
			oldest = l.takeOldest()
		}
		c.place = l.idle.PushBack(c)
	default:
		l.idle.Remove(c.place)
		c.place = nil
	}
	return oldest
}

// Close closes the connection and stops counting it.
func (c *Conn) Close() error {
	err := c.TCPConn.Close() // first, so that its descriptor is free when it is not counted
	c.l.leave(c)
	return err
}

// peerOf returns the other end of a connection.
func peerOf(nc net.Conn) netip.Addr {
	peer, _ := nc.RemoteAddr().(*net.TCPAddr)
	return peer.AddrPort().Addr().Unmap() // of nil the zero address
}
