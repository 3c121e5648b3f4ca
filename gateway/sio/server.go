package sio

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/codewar/socketbridge/gateway/limit"
)

// Server is a Socket.IO endpoint: an http.Handler for /socket.io/.
type Server struct {
	cfg     Config
	handler Handler
	log     *slog.Logger
	library library
	metrics serverMetrics
	limits  limits
	memory  *limit.Memory
	evictor evictor
	dirty   dirty

	newcomers newcomers

	// work counts the connections and the goroutines that outlive a call. It
	// grows from zero only in admit and meet.
	work sync.WaitGroup

	mu      sync.RWMutex // guards what follows
	closed  bool
	away    bool               // it takes no new connections for now
	conns   map[string]*conn   // by session id, until nothing of them is left
	sockets map[string]*Socket // by socket id, until their Disconnect has returned
}

// New makes a server that tells h what happens. Call [Server.Close] when done.
func New(cfg Config, h Handler, log *slog.Logger) *Server {
	s := &Server{
		cfg:     cfg.withDefaults(),
		handler: h,
		log:     log.With("component", "sio"),
		conns:   make(map[string]*conn),
		sockets: make(map[string]*Socket),
		memory:  limit.NewMemory(cfg.Memory),
	}
	s.metrics = newServerMetrics(s.cfg, s.memory, s.log)
	s.limits = newLimits(s.cfg)
	s.library = newLibrary(s)
	return s
}

// Close ends every connection, after what was queued, and takes no new ones. It
// returns when nothing is left of them and the Handler's calls have returned. When
// ctx ends first, the connections are cut and only a Handler that does not return is left behind.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.newcomers.cut()
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

func (s *Server) endAll(how farewell) {
	s.mu.RLock()
	conns := slices.Collect(maps.Values(s.conns))
	s.mu.RUnlock()
	for _, c := range conns {
		c.end(ReasonShutdown, how)
	}
}

// admit adds one to s.work, for the caller to give back. It reports false after Close, and
// while connections are let go.
func (s *Server) admit() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.away {
		return false
	}
	s.work.Add(1)
	return true
}

// handshake begins a session. What s.admit added is the conn's from then on, and
// so are the address's share and the account.
func (s *Server) handshake(r *request, remoteAddr string, from netip.Addr, transport string, memory *limit.Account) *conn {
	c := newConn(s, transport)
	c.memory = memory
	c.sid = newSecretID()
	c.from = from
	c.remoteAddr = remoteAddr
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

// claim gives sock an id and returns the socket that had it.
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

// predecessor is the socket that sock is waiting for, if there is one.
func (s *Server) predecessor(sock *Socket) *Socket {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return sock.before
}

// succeeded says that the predecessor is gone.
func (s *Server) succeeded(sock *Socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sock.before = nil
}

// forgetSocket gives the socket's id up: nothing happens when another one has it
// by now, and it goes back to the one that had it before when that is not gone yet.
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

// admitClient asks the Handler whether a client may join. A Handler that panics has not said yes.
func (s *Server) admitClient(sock *Socket) *Refusal {
	ctx, cancel := context.WithTimeout(sock.conn.ctx, s.cfg.ConnectTimeout)
	defer cancel()
	refusal := &Refusal{Message: "Internal error", Code: "INTERNAL_ERROR"}
	s.guard(func() { refusal = s.handler.Admit(ctx, sock) })
	return refusal
}

// restore gives a client that comes back the socket it had. It reports false
// when there is nothing to give back.
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

// connect calls the Handler's Connect, after which nobody needs the request.
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
