package sio

import (
	"context"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/codewar/socketbridge/gateway/limit"
)

// conn is one client from its handshake to its end.
type conn struct {
	srv    *Server
	ctx    context.Context // ends with the connection or when the client has left the namespace
	cancel context.CancelFunc

	// Of the handshake; set before anything arrives, then read-only.
	sid        string // the session id, which only client and server know
	remoteAddr string
	from       netip.Addr // who it is to the limits
	since      time.Time
	memory     *limit.Account // what is held for the client
	evicted    atomic.Bool    // by the evictor
	reading    atomic.Int64   // when the message that arrives began, in Unix nanoseconds; 0: none does
	// request is what the client has presented. It is nil once the client is refused or
	// the Handler's Connect has returned. What it points to never changes.
	request atomic.Pointer[request]

	inbound   sync.Mutex // held while one packet of the client is handled
	limiter   limiter    // guarded by inbound
	noise     limiter    // guarded by inbound: see maxNoise
	strangers int        // guarded by inbound: CONNECTs to other namespaces

	binary *binaryPacket // guarded by inbound: a packet whose attachments are still to come; nil: none is

	writers sync.WaitGroup // whoever writes, or is going to, while writing is set

	mu       sync.Mutex  // guards what follows
	kind     string      // websocketTransport or pollingTransport
	sock     *Socket     // from CONNECT to DISCONNECT
	ended    bool        // nothing more is queued
	kill     *time.Timer // ends the grace of a connection that is closing
	killBy   time.Time   // while polling, until when kill may be put off
	last     *Packet     // the answer to a GET after the end
	finished bool        // nothing is left

	link     *link         // the websocket; nil while polling
	probe    *link         // a websocket that may become the link
	probing  bool          // an upgrade is under way
	letGo    bool          // the probe is answered: no GET may hang, so that the client can leave polling
	getting  bool          // a GET is being served
	posting  bool          // a POST is being served
	wake     chan struct{} // capacity 1: the GET should look at the queue; nil when it has never polled
	out      *buffer       // queued and not yet taken by a writer: frames, or a payload while polling
	queued   int           // bytes in out and in the hands of the writer; changed by count
	writing  bool          // somebody writes, or Flush is going to
	unsent   int           // what queued was when it ended
	held     bool          // the reader writes what is queued, when it has handled what it read
	progress chan struct{} // closed when queued shrinks; nil while nobody waits

	late   *time.Timer // ends the time that the client has to join; nil when it has
	beat   *time.Timer
	pinged bool // a ping is not answered yet
}

// request is what is kept of a handshake request and of the CONNECT after it.
type request struct {
	header   http.Header
	rawQuery string
	auth     Auth
	size     int // bytes, about
}

// requestOf keeps what a handshake presents.
func requestOf(r *http.Request) *request {
	const perField = 64 // bytes of the map and the slice
	kept := &request{header: r.Header, rawQuery: r.URL.RawQuery, size: len(r.URL.RawQuery)}
	for name, values := range r.Header {
		kept.size += len(name) + perField
		for _, v := range values {
			kept.size += len(v)
		}
	}
	return kept
}

// present adds what the client presents in its CONNECT to the request, in place of what it
// has presented before.
func (c *conn) present(a Auth) {
	before := c.request.Load()
	if before == nil {
		return
	}
	after := *before
	after.auth, after.size = a, before.size-before.auth.size()+a.size()
	c.memory.Add(after.size) // at most as much as the CONNECT that is being handled
	if c.request.CompareAndSwap(before, &after) {
		c.memory.Release(before.size)
	} else { // the connection has ended
		c.memory.Release(after.size)
	}
}

// forgetRequest forgets what the client has presented.
func (c *conn) forgetRequest() {
	if r := c.request.Swap(nil); r != nil {
		c.memory.Release(r.size)
	}
}

// farewell is how a connection ends.
type farewell int

const (
	abort      farewell = iota // at once; what is queued is lost
	flush                      // after what is queued was written, or closeGrace
	sayGoodbye                 // as flush, with a DISCONNECT packet as the last one
)

func newConn(s *Server, kind string) *conn {
	c := &conn{srv: s, kind: kind, since: time.Now(), last: closePacket}
	if kind == pollingTransport {
		c.wake = make(chan struct{}, 1)
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

func (c *conn) transport() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kind
}

func (c *conn) socket() *Socket {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sock
}

// setSocket reports false when the connection has ended.
func (c *conn) setSocket(s *Socket) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		c.sock = s
	}
	return !c.ended
}

func (c *conn) hasEnded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

// end ends the connection. The first call decides the reason; a later call with abort
// discards what the first one left to be written. It does not wait: other goroutines call
// the Handler, write to the network and write the log.
func (c *conn) end(reason string, how farewell) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.ended:
		c.close(reason, how == sayGoodbye)
	case how == abort:
		c.cutProbe()
		c.letGo = false
	default:
		return
	}
	if how == abort {
		c.dropQueue()
	}
	if c.link != nil {
		c.endLink(how)
	} else {
		c.endPolling()
	}
}

// close takes nothing more from either side, counts the end, and queues Disconnect. With
// c.mu held.
func (c *conn) close(reason string, goodbye bool) {
	c.unsent = c.queued
	if goodbye && c.sock != nil {
		c.append(disconnectPacket)
	}
	c.ended = true
	if reason == ReasonTransportClose && c.ctx.Err() != nil {
		reason = ReasonClientLeft // the client had left the namespace before
	}
	c.cancel()
	c.beat.Stop()
	if c.late != nil {
		c.late.Stop()
	}
	c.signal()
	c.srv.countEnd(c.kind, reason, c.from, time.Since(c.since))
	if c.sock != nil {
		c.sock.seal(reason)
	}
	if !c.letGo {
		c.cutProbe() // else the client is on its way: see endPolling
	}
}

// finish is called when nothing of the connection is left but its Socket's
// calls. With c.mu held.
func (c *conn) finish() {
	if c.finished {
		return
	}
	c.finished = true
	if c.kill != nil {
		c.kill.Stop()
	}
	c.dropQueue()
	c.forgetRequest()
	c.memory.Close()
	c.srv.forgetConn(c)
	c.srv.limits.release(c.from)
	c.srv.work.Done()
}

// leave ends the Socket of a client that leaves the namespace. The connection stays until
// the client closes it, as with Socket.IO: some clients take its end for a fault.
func (c *conn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended || c.sock == nil {
		return
	}
	c.cancel()
	c.sock.seal(ReasonClientLeft)
	c.sock = nil
}

// endByClient ends a session whose client has closed it. What is queued is of no use to
// the client; a GET that hangs is answered with a noop.
func (c *conn) endByClient() {
	c.mu.Lock()
	polls := c.link == nil
	c.last = noopPacket
	c.mu.Unlock()
	if polls {
		c.end(ReasonTransportClose, abort)
	} else {
		c.end(ReasonTransportClose, flush)
	}
}

// giveUp finishes a connection whose client has not come for the rest.
func (c *conn) giveUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cutProbe()
	c.finish()
}
