package sio

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/zishang520/engine.io-go-parser/packet"
	"github.com/zishang520/engine.io/v2/engine"
	"github.com/zishang520/engine.io/v2/events"
	"github.com/zishang520/engine.io/v2/transports"
	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io-go-parser/v2/parser"
	"github.com/zishang520/socket.io/v2/socket"
)

// This file is the seam to the library. What it does for us: it runs the CONNECT of the
// namespace with the recovery of a session. It has a client only while that runs, in
// [library.join]: its own sessions would each cost three goroutines and timers.
//
// To the library every client is one that comes back, because those it lets in at
// once, and others on a goroutine of their own. What it restores is the socket that
// we have made or found. The client cannot tell: it knows by the private id.

// never is how often the library pings: the heartbeat is ours.
const never = 100 * 365 * 24 * time.Hour

// library is the library's side of a Server.
type library struct {
	io     *socket.Server
	engine engine.Server
	// request stands for every handshake request, none of which the library needs.
	request *types.HttpContext
	// silence is what nobody emits anything on.
	silence events.EventEmitter
}

func newLibrary(s *Server) library {
	recovery := &socket.ConnectionStateRecovery{} // makes the library ask for sessions
	recovery.SetMaxDisconnectionDuration(0)       // only its own adapter would look
	recovery.SetSkipMiddlewares(true)

	silence := events.New()
	opts := socket.DefaultServerOptions()
	opts.SetServeClient(false)
	opts.SetTransports(types.NewSet(s.cfg.Transports...))
	opts.SetPingInterval(never)
	opts.SetPingTimeout(never)
	opts.SetConnectTimeout(never) // ours is [conn.startHeartbeat]'s
	opts.SetConnectionStateRecovery(recovery)
	opts.SetAdapter(adapters{s})
	opts.SetParser(codec{parser.NewParser(), silence})

	lib := library{
		io:      socket.NewServer(nil, opts),
		engine:  engine.MakeServer(),
		request: types.NewHttpContext(noResponse{}, &http.Request{Method: http.MethodGet, URL: &url.URL{RawQuery: "EIO=4"}}),
		silence: silence,
	}
	lib.request.Flush() // ends its goroutine
	lib.engine.Construct(opts)
	lib.io.Bind(lib.engine)
	_ = lib.io.On("connection", func(args ...any) { // cannot fail
		s.guard(func() { s.joined(args[0].(*socket.Socket)) })
	})
	return lib
}

// close makes the library forget everything.
func (l *library) close() { l.io.Close(nil) }

// noResponse is the response that the library never writes.
type noResponse struct{}

func (noResponse) Header() http.Header       { return http.Header{} }
func (noResponse) Write([]byte) (int, error) { return 0, http.ErrHijacked }
func (noResponse) WriteHeader(int)           {}

// join has the library let the client in whose socket has its ids: it sends the
// CONNECT and calls [Server.joined], before join returns.
func (l *library) join(c *conn) {
	t := &session{EventEmitter: l.silence, lib: l, conn: c}
	l.engine.Emit("connection", t)
	if t.data == nil {
		return // the server is closed
	}
	t.data(&parser.Packet{
		Type: parser.CONNECT,
		Nsp:  "/",
		Data: map[string]any{"pid": c.sid, "offset": "-"}, // see RestoreSession
	})
}

// session is a conn as the library has it: an Engine.IO socket that is open. The
// library listens to one thing on it that there is, its data.
type session struct {
	events.EventEmitter
	lib  *library
	conn *conn
	data events.Listener // takes packets that need no decoding
}

// On keeps the listener for data.
func (t *session) On(name events.EventName, to ...events.Listener) error {
	if name == "data" {
		t.data = to[0]
	}
	return nil
}

// Once is for the end, of which the library need not know.
func (*session) Once(events.EventName, ...events.Listener) error { return nil }

// RemoveListener has nothing to remove: the session is gone with its listeners.
func (*session) RemoveListener(events.EventName, events.Listener) bool { return true }

func (t *session) Id() string                  { return t.conn.sid }
func (*session) Protocol() int                 { return 4 }
func (*session) ReadyState() string            { return "open" }
func (*session) RemoteAddress() string         { return "" }
func (*session) SetReadyState(string)          {}
func (t *session) Request() *types.HttpContext { return t.lib.request }
func (*session) Transport() transports.Transport {
	return nil // is asked for volatile packets only, of which there are none
}
func (*session) Upgraded() bool                    { return false }
func (*session) Upgrading() bool                   { return false }
func (*session) MaybeUpgrade(transports.Transport) {}
func (*session) Construct(string, engine.BaseServer, transports.Transport, *types.HttpContext, int) {
}

// Write queues what the library has to say: the answer to CONNECT.
func (t *session) Write(text io.Reader, _ *packet.Options, _ engine.SendCallback) engine.Socket {
	if text, ok := text.(*types.StringBuffer); ok {
		_ = t.conn.push(textPacket("4" + text.String())) // a closed connection needs no answer
	}
	return t
}

// Send is the same.
func (t *session) Send(text io.Reader, o *packet.Options, done engine.SendCallback) engine.Socket {
	return t.Write(text, o, done)
}

// Close is what the library does with a client that it does not understand.
func (t *session) Close(bool) { t.conn.end(ReasonProtocol, flush) }

// codec is the library's parser without its decoder: what a session hands on are packets.
type codec struct {
	parser.Parser
	silence events.EventEmitter
}

func (p codec) NewDecoder() parser.Decoder { return &decoder{EventEmitter: p.silence} }

type decoder struct {
	events.EventEmitter
	decoded events.Listener
}

// On keeps the one listener there is.
func (d *decoder) On(_ events.EventName, to ...events.Listener) error {
	d.decoded = to[0]
	return nil
}

// Add hands a packet on.
func (d *decoder) Add(packet any) error {
	d.decoded(packet)
	return nil
}

// Destroy has nothing to do.
func (*decoder) Destroy() {}

// adapters makes the adapter of each namespace; there is one.
type adapters struct{ srv *Server }

func (a adapters) New(nsp socket.Namespace) socket.Adapter {
	ad := &adapter{socket.MakeAdapter(), a.srv}
	ad.Prototype(ad)
	ad.Construct(nsp)
	return ad
}

// adapter keeps no rooms, because nothing is ever broadcast, and no sessions,
// because that is the Handler's business.
type adapter struct {
	socket.Adapter
	srv *Server
}

func (*adapter) AddAll(socket.SocketId, *types.Set[socket.Room]) {}
func (*adapter) Del(socket.SocketId, socket.Room)                {}
func (*adapter) DelAll(socket.SocketId)                          {}

// RestoreSession hands the library the socket that [conn.join] has made, or found. The
// pid is not the client's: library.join puts the session id in its place.
func (a *adapter) RestoreSession(sid socket.PrivateSessionId, _ string) (*socket.Session, error) {
	c := a.srv.conn(string(sid))
	if c == nil {
		return nil, nil
	}
	s := c.socket()
	return &socket.Session{SessionToPersist: &socket.SessionToPersist{
		Sid:   socket.SocketId(s.id),
		Pid:   socket.PrivateSessionId(s.pid),
		Rooms: types.NewSet[socket.Room](),
	}}, nil
}

// join lets a client into the namespace. Called once for a connection.
func (c *conn) join(a Auth) {
	s := newSocket(c)
	if !c.setSocket(s) {
		return
	}
	c.present(a)
	if refusal := c.srv.admitClient(s); refusal != nil {
		c.refuseJoin(refusal)
		return
	}
	a.Token = "" // no other call needs this secret
	c.present(a)
	restored := c.srv.restore(s)
	c.srv.Turn(c.ctx, func() { // else the connection has ended, and with it the socket
		if !restored {
			s.pid = newSecretID()
			c.srv.claim(newSocketID(), s)
		}
		c.srv.library.join(c)
		c.writeHeld() // what the client waits for
	})
}

// joined is called by the library when it has sent its CONNECT to the client.
func (s *Server) joined(lib *socket.Socket) {
	lib.Nsp().Remove(lib) // all that it keeps
	c := lib.Conn().(*session).conn
	sock := c.socket()
	if !sock.calls.open(func() { s.connect(sock) }) {
		s.forgetSocket(sock) // the connection ended in this moment
	}
	c.arrived()
}

// openData is what the client is told of the session.
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
