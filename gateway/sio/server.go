package sio

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/codewar/socketbridge/gateway/limit"
)

// Server is a Socket.IO endpoint, an [http.Handler] for /socket.io/.
type Server struct {
	cfg       Config
	handler   Handler
	log       *slog.Logger
	library   library
	metrics   serverMetrics
	limits    limits
	memory    *limit.Memory
	evictor   evictor
	flushList flushList

	// work counts the connections and the goroutines that outlive a call. It grows from zero
	// only in admit and addPending.
	work sync.WaitGroup

	mu      sync.RWMutex // guards what follows
	closed  bool
	paused  bool                 // see Pause
	pending map[tcpConn]struct{} // accepted by a WebsocketListener; nothing was read from them
	conns   map[string]*conn     // by session id, until nothing of them is left
	sockets map[string]*Socket   // by socket id, until their Disconnect has returned
}

// New returns a server with a handler of its events. The caller must call [Server.Close].
func New(cfg Config, h Handler, log *slog.Logger) *Server {
	s := &Server{
		cfg:     cfg.withDefaults(),
		handler: h,
		log:     log.With("component", "sio"),
		pending: make(map[tcpConn]struct{}),
		conns:   make(map[string]*conn),
		sockets: make(map[string]*Socket),
		memory:  limit.NewMemory(cfg.Memory),
	}
	s.metrics = newServerMetrics(s.cfg, s.memory, s.log)
	s.limits = newLimits(s.cfg)
	s.library = newLibrary(s)
	return s
}

// Close refuses new connections and ends all others after what is queued for them. It returns
// when they have finished and the Handler's calls have returned. When ctx ends first, it cuts
// the connections; then only a call of the Handler that does not return is left.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	for conn := range s.pending {
		_ = conn.Close() // its reader fails
	}
	s.mu.Unlock()
	s.endAll(flush)
	idle := make(chan struct{})
	go func() {
		s.work.Wait()
		close(idle)
	}()
	defer s.library.close()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
	}
	s.endAll(abort)
	select {
	case <-idle:
		return nil
	case <-time.After(closeGrace):
		return fmt.Errorf("wait for handler calls: %w", context.Cause(ctx))
	}
}

func (s *Server) endAll(how closeMode) {
	for _, c := range s.allConns() {
		c.end(ReasonShutdown, how)
	}
}

// admit adds one to s.work, which the caller must take back. It reports false after Close and
// while the server is paused.
func (s *Server) admit() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.paused {
		return false
	}
	s.work.Add(1)
	return true
}

// handshake begins a session. The conn takes over what s.admit has added, what tooMany has
// counted, and the account.
func (s *Server) handshake(r *request, from netip.Addr, transport string, memory *limit.Account) *conn {
	c := newConn(s, transport)
	c.memory = memory
	c.sid = newSecretID()
	c.from = from
	c.request.Store(r)
	s.metrics.opened(transport)
	c.startHeartbeat(textPacket("0" + s.openData(c.sid, transport)))
	s.mu.Lock()
	s.conns[c.sid] = c
	closed := s.closed
	s.mu.Unlock()
	if closed {
		c.end(ReasonShutdown, abort)
	}
	return c
}

// openData returns the data of the OPEN packet, by which the client learns about its session.
func (s *Server) openData(sid, transport string) string {
	upgrades := []string{}
	if transport == pollingTransport && s.allows(websocketTransport) {
		upgrades = append(upgrades, websocketTransport)
	}
	data, _ := json.Marshal(struct { // cannot fail
		Sid          string   `json:"sid"`
		Upgrades     []string `json:"upgrades"`
		PingInterval int64    `json:"pingInterval"`
		PingTimeout  int64    `json:"pingTimeout"`
		MaxPayload   int64    `json:"maxPayload"`
	}{sid, upgrades, s.cfg.PingInterval.Milliseconds(), s.cfg.PingTimeout.Milliseconds(), s.cfg.MaxInbound})
	return string(data)
}

func (s *Server) conn(sid string) *conn {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.conns[sid]
}

func (s *Server) forgetConn(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c.sid)
}

// claim sets the id of sock and returns the socket that had it, if any.
func (s *Server) claim(id string, sock *Socket) (old *Socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old = s.sockets[id]
	s.sockets[id], sock.id, sock.gone = sock, id, false
	if old != nil {
		sock.before = old
	}
	return old
}

// predecessor returns the socket that had the id before and is not gone, or nil.
func (s *Server) predecessor(sock *Socket) *Socket {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return sock.before
}

// succeeded records that the predecessor is gone.
func (s *Server) succeeded(sock *Socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sock.before = nil
}

// forgetSocket releases the socket's id, unless another socket has it now. A predecessor that
// is not gone gets it back.
func (s *Server) forgetSocket(sock *Socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sock.gone = true
	if s.sockets[sock.id] != sock {
		return
	}
	before := sock.before
	for before != nil && (before.gone || before.id != sock.id) {
		before = before.before
	}
	if before != nil {
		s.sockets[sock.id] = before
	} else {
		delete(s.sockets, sock.id)
	}
}

// admitClient asks the Handler whether a client may join. A panic of the Handler is a refusal.
func (s *Server) admitClient(sock *Socket) *Refusal {
	ctx, cancel := context.WithTimeout(sock.conn.ctx, s.cfg.ConnectTimeout)
	defer cancel()
	refusal := &Refusal{Message: "Internal error", Code: "INTERNAL_ERROR"}
	s.guard(func() { refusal = s.handler.Admit(ctx, sock) })
	return refusal
}

// restore gives a client that reconnects its earlier socket. It reports false when there is
// none.
func (s *Server) restore(sock *Socket) bool {
	a := sock.Auth()
	pid, offset := a.PID, a.Offset
	if pid == "" || offset == "" || len(pid) > maxSessionText || len(offset) > maxSessionText {
		return false
	}
	ctx, cancel := context.WithTimeout(sock.conn.ctx, restoreTimeout)
	defer cancel()
	var found Restored
	var ok bool
	s.guard(func() { found, ok = s.handler.Restore(ctx, sock, pid, offset) })
	if !ok || found.ID == "" {
		return false
	}
	if old := s.claim(found.ID, sock); old != nil && !old.replace(ctx) || sock.conn.hasEnded() {
		s.forgetSocket(sock)
		return false
	}
	s.succeeded(sock)
	sock.pid, sock.recovered = pid, true
	sock.SetData(found.Data)
	return true
}

// connect calls the Handler's Connect and then discards the request.
func (s *Server) connect(sock *Socket) {
	defer sock.conn.forgetRequest()
	s.handler.Connect(sock)
}

// guard runs fn and recovers its panic; it reports whether there was none.
func (s *Server) guard(fn func()) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			s.metrics.panics.Inc()
			s.log.Error("panic recovered", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	fn()
	return true
}

func (s *Server) allows(transport string) bool { return slices.Contains(s.cfg.Transports, transport) }
