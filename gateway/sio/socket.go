package sio

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"
)

// Handler handles the events of a server. The calls for one socket come one at a time and in
// order, on a goroutine that may block; calls for different sockets run concurrently. A panic
// is recovered, counted and logged.
type Handler interface {
	// Admit reports whether a client may join, by what it presents in [Socket.Auth] and
	// [Socket.Header]. It is the first call. It may store data with [Socket.SetData]. The
	// token is in Socket.Auth until Admit has returned. A refused client gets CONNECT_ERROR
	// (`connect_error` in the official client), its connection is closed, and no other call
	// comes for it. ctx ends with the connection and after Config.ConnectTimeout.
	Admit(ctx context.Context, s *Socket) *Refusal
	// Restore returns the earlier socket of an admitted client that presents the private id
	// of a session and the offset that it has reached. With false the client gets a new
	// socket. With true, a socket of that id that is still connected here is closed, and its
	// Disconnect has returned before Connect is called.
	Restore(ctx context.Context, s *Socket, pid, offset string) (Restored, bool)
	// Connect is called before any Event. The client knows already that it is connected.
	Connect(s *Socket)
	// Event handles one event. ack is nil when the client wants no acknowledgement.
	Event(s *Socket, name string, args []json.RawMessage, ack func(args ...any))
	// Disconnect is called exactly once for each Connect, as the last call.
	Disconnect(s *Socket, reason string)
}

// Refusal says why a client may not join. In the official client Message is the message of
// `connect_error`, and Code is its data.code, for programs.
type Refusal struct {
	Message string
	Code    string
	// Later closes the connection without CONNECT_ERROR, after which the official client
	// would not try again.
	Later bool
}

// Restored is the socket that a client gets back.
type Restored struct {
	ID   string // its id, as before
	Data any    // becomes [Socket.Data]
}

// Socket is a client that has joined the namespace. Its methods are safe for concurrent use
// and never block, except WaitDrained.
type Socket struct {
	conn  *conn
	queue handlerQueue
	acks  acks

	// Set before Connect, then read-only.
	id, pid   string
	recovered bool

	// before is the socket that had the id, while it may not be gone; gone: the id is
	// released. Guarded by Server.mu.
	before *Socket
	gone   bool

	data  atomic.Pointer[any]
	plain atomic.Bool // see IgnoresOffsets
}

func newSocket(c *conn) *Socket {
	return &Socket{conn: c, queue: handlerQueue{srv: c.srv, memory: c.memory, done: make(chan struct{})}}
}

// seal makes Disconnect the Handler's last call, if there was a Connect. The socket keeps its
// id until that has returned, so that its successor waits for it.
func (s *Socket) seal(reason string) {
	srv := s.conn.srv
	last := func() {
		defer srv.forgetSocket(s)
		s.abandonAcks()
		srv.handler.Disconnect(s, reason)
	}
	if !s.queue.seal(last) {
		srv.forgetSocket(s)
	}
}

// replace ends the socket because its client has reconnected. It reports false when ctx ends
// before Disconnect has returned.
func (s *Socket) replace(ctx context.Context) bool {
	s.conn.end(ReasonReplaced, abort)
	if before := s.conn.srv.predecessor(s); before != nil && !before.replace(ctx) {
		return false
	}
	select {
	case <-s.queue.done:
		return true
	case <-ctx.Done():
		return false
	}
}

// ID returns the id, which the client knows. A recovered socket has its earlier id.
func (s *Socket) ID() string { return s.id }

// PID returns the private id, by which the client can recover the session. It is a secret.
func (s *Socket) PID() string { return s.pid }

// Recovered reports whether [Handler.Restore] recognised the client.
func (s *Socket) Recovered() bool { return s.recovered }

// Data returns what SetData has set last; at first, [Restored.Data].
func (s *Socket) Data() any {
	if p := s.data.Load(); p != nil {
		return *p
	}
	return nil
}

// SetData stores v.
func (s *Socket) SetData(v any) { s.data.Store(&v) }

// Auth returns what the client has presented when it joined. After Connect it is zero.
func (s *Socket) Auth() Auth {
	if r := s.conn.request.Load(); r != nil {
		return r.auth
	}
	return Auth{}
}

// Header returns the header of the handshake request, read-only. After Connect it is nil.
func (s *Socket) Header() http.Header {
	if r := s.conn.request.Load(); r != nil {
		return r.header
	}
	return nil
}

// RawQuery returns the query of the handshake request as sent. After Connect it is empty.
func (s *Socket) RawQuery() string {
	if r := s.conn.request.Load(); r != nil {
		return r.rawQuery
	}
	return ""
}

// From returns the client's address by [Config.ClientAddr].
func (s *Socket) From() netip.Addr { return s.conn.from }

// Transport returns the current transport: "websocket" or "polling".
func (s *Socket) Transport() string { return s.conn.transport() }

// Since returns the time of the handshake.
func (s *Socket) Since() time.Time { return s.conn.since }

// IgnoresOffsets declares that the client does not interpret a string in the last argument as
// an offset, so that [Socket.Emit] adds no null.
func (s *Socket) IgnoresOffsets() { s.plain.Store(true) }

// Emit queues an event, in order with what is pushed. When the last argument is a string it adds
// a null, because the JavaScript client interprets such a string as an offset.
func (s *Socket) Emit(name string, args ...any) error {
	if reserved[name] {
		return fmt.Errorf("emit %q: %w", name, ErrReserved)
	}
	p, err := eventPacket("42", name, args, !s.plain.Load())
	if err != nil {
		return err
	}
	return s.Push(p)
}

// Push queues a packet. With [ErrSlow] the packet has exceeded Config.MaxPending and the
// connection is being closed.
func (s *Socket) Push(p *Packet) error { return s.conn.put(s, p, s.conn.signal) }

// Queue does the same, but the packet may wait until the next [Server.Flush].
func (s *Socket) Queue(p *Packet) error { return s.conn.put(s, p, s.conn.leaveToFlush) }

// Pending returns how many bytes wait to be written. After the end it returns how many were
// not written.
func (s *Socket) Pending() int { return s.conn.pendingBytes() }

// WaitDrained waits until fewer than below bytes are pending. It fails with [ErrClosed] when the
// socket is closed, and with the cause of ctx.
func (s *Socket) WaitDrained(ctx context.Context, below int) error {
	return s.conn.waitDrained(ctx, below)
}

// Disconnect sends what is queued and then a DISCONNECT packet: the client's library reports
// "io server disconnect" and does not reconnect.
func (s *Socket) Disconnect(reason string) { s.conn.end(reason, sayGoodbye) }

// Close sends what is queued and closes the connection. The client's library
// reports "transport close" and reconnects.
func (s *Socket) Close(reason string) { s.conn.end(reason, flush) }

// Context returns a context that ends when the socket is closed, before Disconnect is called.
func (s *Socket) Context() context.Context { return s.conn.ctx }
