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

// conn is the connection of one client, from the handshake to the end of its session.
type conn struct {
	srv    *Server
	ctx    context.Context // ends with the connection or when the client has left the namespace
	cancel context.CancelFunc

	// Set in the handshake, then read-only.
	sid     string     // the session id, a secret of client and server
	from    netip.Addr // the client's address, by which limits count
	since   time.Time
	memory  *limit.Account // bytes held for the client
	evicted atomic.Bool    // by the evictor
	reading atomic.Int64   // when the message that is arriving began, in Unix nanoseconds; 0: none
	// request is what the client has presented. It is nil once the client is refused or the
	// Handler's Connect has returned. What it points to never changes.
	request atomic.Pointer[request]

	inbound           sync.Mutex    // held while one packet of the client is handled
	limiter           limiter       // guarded by inbound
	idleFrames        limiter       // guarded by inbound: see maxIdleFrames
	foreignNamespaces int           // guarded by inbound: CONNECTs to namespaces other than "/"
	binary            *binaryPacket // guarded by inbound: a packet without its attachments, or nil

	writers sync.WaitGroup // goroutines that write or are about to, while writing is set

	mu       sync.Mutex  // guards what follows
	kind     string      // websocketTransport or pollingTransport
	sock     *Socket     // from CONNECT to DISCONNECT
	ended    bool        // nothing more is queued
	kill     *time.Timer // ends the grace period of a connection that is closing
	killBy   time.Time   // while polling, the latest time for kill
	last     *Packet     // the answer to a GET after the end
	finished bool        // nothing is left

	link        *link         // the websocket; nil while polling
	probe       *link         // a websocket that may become the link
	probing     bool          // an upgrade is in progress
	releasePoll bool          // the probe is answered: each GET must return, so that the client can leave polling
	getting     bool          // a GET is being served
	posting     bool          // a POST is being served
	wake        chan struct{} // capacity 1: tells the GET to look at the queue; nil without polling
	out         *buffer       // queued and not yet taken by a writer: frames, or a payload while polling
	queued      int           // bytes in out and in the hands of the writer; changed by count and discount
	writing     bool          // a goroutine writes, or Flush is about to
	unsent      int           // queued, at the end
	held        bool          // the reader's goroutine writes what is queued, see hold
	progress    chan struct{} // closed when queued shrinks; nil without a waiter

	late   *time.Timer // ends the time that the client has to join; nil once it has joined
	beat   *time.Timer
	pinged bool // the client owes a pong
}

// request is the part of a handshake request, and of the CONNECT after it, that is kept.
type request struct {
	header   http.Header
	rawQuery string
	auth     Auth
	size     int // approximate bytes
}

// requestOf returns what is kept of a handshake request.
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

// present replaces what the client has presented in its CONNECT.
func (c *conn) present(a Auth) {
	before := c.request.Load()
	if before == nil {
		return
	}
	after := *before
	after.auth, after.size = a, before.size-before.auth.size()+a.size()
	c.memory.Add(after.size) // at most the size of the CONNECT that is being handled
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

// closeMode says how a connection ends.
type closeMode int

const (
	abort      closeMode = iota // at once; what is queued is discarded
	flush                       // when what is queued is written, or after closeGrace
	sayGoodbye                  // as flush, with a DISCONNECT packet at the end
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
func (c *conn) end(reason string, how closeMode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.ended:
		c.close(reason, how == sayGoodbye)
	case how == abort:
		c.cutProbe()
		c.releasePoll = false
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

// close accepts nothing more from either side, counts the end, and queues Disconnect. With
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
	if !c.releasePoll {
		c.cutProbe() // otherwise the client is about to switch: see endPolling
	}
}

// finish releases what the connection holds. Only the calls of its Socket may remain. With
// c.mu held.
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

// leave ends the Socket of a client that leaves the namespace. The connection stays until the
// client closes it, as with Socket.IO: some clients report its end as an error.
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

// endByClient ends a session that the client has closed, and discards what is queued. A GET
// that waits is answered with a noop.
func (c *conn) endByClient() {
	c.mu.Lock()
	how := flush
	if c.link == nil {
		how = abort
	}
	c.last = noopPacket
	c.mu.Unlock()
	c.end(ReasonTransportClose, how)
}

// giveUp finishes a connection whose client has not fetched the rest.
func (c *conn) giveUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cutProbe()
	c.finish()
}
