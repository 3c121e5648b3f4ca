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

// Handler is told what happens. The calls for one socket come one at a time and
// in order, on a goroutine that may be kept waiting; those for different sockets
// run side by side. A panic in one is recovered, counted and logged.
type Handler interface {
	// Admit is asked first of all whether a client may join, by what it presents
	// in [Socket.Auth] and [Socket.Header]. It may keep what it learns in
	// [Socket.SetData]. The token is in Socket.Auth until Admit has returned. A refused client is sent CONNECT_ERROR, in the stock client a
	// `connect_error`, and its connection is closed; no other call comes for it.
	// ctx ends with the connection and when the client has had its time to join.
	Admit(ctx context.Context, s *Socket) *Refusal
	// Restore answers for a client that presents the private id of an earlier
	// session and the offset it has reached. With false the client gets a new
	// socket. Once it has said true, a socket of that id that is still connected
	// here is closed, and its Disconnect has returned, before Connect. s is what
	// Admit has let in.
	Restore(ctx context.Context, s *Socket, pid, offset string) (Restored, bool)
	// Connect comes before any Event. The client already knows that it is connected.
	Connect(s *Socket)
	// Event is one event of the client. ack is nil when it wants no acknowledgement.
	Event(s *Socket, name string, args []json.RawMessage, ack func(args ...any))
	// Disconnect comes exactly once for each Connect, as the last call.
	Disconnect(s *Socket, reason string)
}

// Refusal is why a client may not join: in the stock client the message of
// `connect_error` and, under data.code, what programs go by.
type Refusal struct {
	Message string
	Code    string
	// Later closes the connection without CONNECT_ERROR, after which the stock client
	// would not try again by itself.
	Later bool
}

// Restored is the socket that a client gets back.
type Restored struct {
	ID   string // its id, as before
	Data any    // becomes [Socket.Data]
}

// Socket is one client that has joined the namespace. Methods are safe for
// concurrent use and, but for WaitDrained, never wait.
type Socket struct {
	conn  *conn
	calls calls
	acks  acks

	// Set before Connect, then read-only.
	id, pid   string
	recovered bool

	// before had the id, while it may not be gone yet; gone: the id is given up.
	// Guarded by Server.mu.
	before *Socket
	gone   bool

	data  atomic.Pointer[any]
	plain atomic.Bool // see IgnoresOffsets
}

func newSocket(c *conn) *Socket {
	return &Socket{conn: c, calls: calls{srv: c.srv, memory: c.memory, done: make(chan struct{})}}
}

// seal makes Disconnect the Handler's last call, if there was a Connect. The
// socket keeps its id until that has returned, so that a new one waits for it.
func (s *Socket) seal(reason string) {
	srv := s.conn.srv
	last := func() {
		defer srv.forgetSocket(s)
		s.abandonAcks()
		srv.handler.Disconnect(s, reason)
	}
	if !s.calls.seal(last) {
		srv.forgetSocket(s)
	}
}

// replace ends the socket because its client is back on another connection. It
// reports false when the Handler has not let go of it before ctx ends.
func (s *Socket) replace(ctx context.Context) bool {
	s.conn.end(ReasonReplaced, abort)
	if before := s.conn.srv.predecessor(s); before != nil && !before.replace(ctx) {
		return false
	}
	select {
	case <-s.calls.done:
		return true
	case <-ctx.Done():
		return false
	}
}

// ID is the id that the client knows too. A recovered socket has its old one.
func (s *Socket) ID() string { return s.id }

// PID is the private id by which the client asks to be recovered. It is a
// secret between the two.
func (s *Socket) PID() string { return s.pid }

// Recovered reports whether [Handler.Restore] recognised the client.
func (s *Socket) Recovered() bool { return s.recovered }

// Data is what SetData set last; at first, [Restored.Data].
func (s *Socket) Data() any {
	if p := s.data.Load(); p != nil {
		return *p
	}
	return nil
}

// SetData keeps v with the socket.
func (s *Socket) SetData(v any) { s.data.Store(&v) }

// Auth is what the client presented when it joined. After Connect it is the zero Auth.
func (s *Socket) Auth() Auth {
	if r := s.conn.request.Load(); r != nil {
		return r.auth
	}
	return Auth{}
}

// Header is the header of the handshake request, read-only. After Connect it is
// nil: who needs more of it keeps it.
func (s *Socket) Header() http.Header {
	if r := s.conn.request.Load(); r != nil {
		return r.header
	}
	return nil
}

// RawQuery is the query of the handshake request, in the client's own spelling.
// After Connect it is empty.
func (s *Socket) RawQuery() string {
	if r := s.conn.request.Load(); r != nil {
		return r.rawQuery
	}
	return ""
}

// RemoteAddr is the network address, "ip:port", that the handshake came from.
func (s *Socket) RemoteAddr() string { return s.conn.remoteAddr }

// From is the client's address, as [Config.ClientAddr] tells it.
func (s *Socket) From() netip.Addr { return s.conn.from }

// Transport is how the client is connected at this moment: "websocket" or "polling".
func (s *Socket) Transport() string { return s.conn.transport() }

// Since is when the connection was made.
func (s *Socket) Since() time.Time { return s.conn.since }

// IgnoresOffsets says that the client does not take a string that comes last for
// its offset, so [Socket.Emit] need not put a null behind one.
func (s *Socket) IgnoresOffsets() { s.plain.Store(true) }

// Emit sends an event. It keeps its place among what is pushed. Behind an
// argument that comes last and is a string it puts a null, because the JavaScript
// client takes such a string for its offset.
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

// Push queues a packet. It never waits, and it costs no encoding. [ErrSlow]
// means that the packet was one too many and the connection is being closed.
func (s *Socket) Push(p *Packet) error { return s.conn.put(s, p, s.conn.signal) }

// Queue is Push for whoever calls [Server.Flush] soon: until then the packet may wait.
func (s *Socket) Queue(p *Packet) error { return s.conn.put(s, p, s.conn.leaveToFlush) }

// Pending is how many bytes wait for the client on this side of the network. After the
// end it is how many had not been written then.
func (s *Socket) Pending() int { return s.conn.pendingBytes() }

// WaitDrained waits until fewer than below bytes are pending. It fails with
// [ErrClosed] when the socket is closed and with the context's cause.
func (s *Socket) WaitDrained(ctx context.Context, below int) error {
	return s.conn.waitDrained(ctx, below)
}

// Disconnect sends what is queued and tells the client to stay away: its
// library reports "io server disconnect" and does not reconnect by itself.
func (s *Socket) Disconnect(reason string) { s.conn.end(reason, sayGoodbye) }

// Close sends what is queued and closes the connection. The client's library
// reports "transport close" and reconnects.
func (s *Socket) Close(reason string) { s.conn.end(reason, flush) }

// Context ends when the socket is closed, with the reason still to be told by
// Disconnect.
func (s *Socket) Context() context.Context { return s.conn.ctx }

// Closed is closed when nothing more can be sent.
func (s *Socket) Closed() <-chan struct{} { return s.conn.ctx.Done() }
