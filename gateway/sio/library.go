package sio

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/zishang520/engine.io-go-parser/packet"
	"github.com/zishang520/engine.io/v2/engine"
	"github.com/zishang520/engine.io/v2/transports"
	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io/v2/socket"
)

// This file is the seam to the library. What it does for us: it makes session
// ids, socket ids and private ids, runs the CONNECT of the namespace with the
// recovery of a session, and closes clients that never send one. All it gets of
// a client is the spelling of CONNECT in [conn.join].

// never is how often the library pings: the heartbeat is ours.
const never = 100 * 365 * 24 * time.Hour

// library is the library's side of a Server.
type library struct {
	io     *socket.Server
	engine engine.Server
	// request stands for every handshake request, none of which the library
	// needs: it would hold on to each one and its response for the life of the session.
	request *types.HttpContext
}

func newLibrary(s *Server) library {
	recovery := &socket.ConnectionStateRecovery{} // makes the library issue private ids
	recovery.SetMaxDisconnectionDuration(0)       // only its own adapter would look
	recovery.SetSkipMiddlewares(true)

	opts := socket.DefaultServerOptions()
	opts.SetServeClient(false)
	opts.SetTransports(types.NewSet(s.cfg.Transports...))
	opts.SetPingInterval(never)
	opts.SetPingTimeout(never)
	opts.SetConnectTimeout(s.cfg.ConnectTimeout)
	opts.SetConnectionStateRecovery(recovery)
	opts.SetAdapter(adapters{s})

	lib := library{
		io:      socket.NewServer(nil, opts),
		engine:  &engineServer{engine.MakeServer(), s},
		request: types.NewHttpContext(noResponse{}, &http.Request{Method: http.MethodGet, URL: &url.URL{RawQuery: "EIO=4"}}),
	}
	lib.request.Flush() // ends its goroutine
	lib.engine.Prototype(lib.engine)
	lib.engine.Construct(opts)
	lib.io.Bind(lib.engine)
	_ = lib.io.On("connection", func(args ...any) { // cannot fail
		s.guard(func() { s.joined(args[0].(*socket.Socket)) })
	})
	return lib
}

// close makes the library forget everything.
func (l *library) close() { l.io.Close(nil) }

// handshake begins a session of the library, with a conn behind its transport.
func (l *library) handshake(transport string) (*conn, error) {
	refused, t := l.engine.Handshake(transport, l.request)
	if t, ok := t.(*session); ok {
		t.conn.sid = t.Sid()
		return t.conn, nil
	}
	return nil, fmt.Errorf("begin session: %s", refused.Message)
}

// noResponse is the response that the library never writes.
type noResponse struct{}

func (noResponse) Header() http.Header       { return http.Header{} }
func (noResponse) Write([]byte) (int, error) { return 0, http.ErrHijacked }
func (noResponse) WriteHeader(int)           {}

// engineServer is the library's engine with our transports. Its HTTP side and
// its upgrade are not used.
type engineServer struct {
	engine.Server
	srv *Server
}

// CreateTransport is called by Handshake.
func (e *engineServer) CreateTransport(name string, ctx *types.HttpContext) (transports.Transport, error) {
	t := &session{transports.MakeTransport(), newConn(e.srv, name)}
	t.conn.session = t
	t.Prototype(t)
	t.SetWritable(true) // always: the queue is ours
	t.Construct(ctx)
	return t, nil
}

// session is a conn as the library has it until the client has joined: a
// transport, the only one of its session that it ever sees.
type session struct {
	transports.Transport // what the library keeps in a transport: listeners and state
	conn                 *conn
}

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

// RestoreSession hands the library what [Server.restore] has found. The pid is
// not the client's: join puts the session id in its place.
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
func (c *conn) join(auth map[string]any) {
	s := newSocket(c, auth)
	if !c.setSocket(s) {
		return
	}
	if refusal := c.srv.admitClient(s); refusal != nil {
		c.refuseJoin(refusal)
		return
	}
	connect := "0"
	if c.srv.restore(s) {
		connect = `0{"pid":"` + c.sid + `","offset":"-"}`
	}
	c.mu.Lock()
	t := c.session
	c.mu.Unlock()
	if t != nil {
		t.OnPacket(&packet.Packet{Type: packet.MESSAGE, Data: types.NewStringBufferString(connect)})
	}
}

// joined is called by the library when it has sent its CONNECT to the client.
func (s *Server) joined(lib *socket.Socket) {
	c := lib.Conn().Transport().(*session).conn
	sock := c.socket()
	if !sock.recovered {
		s.claim(string(lib.Id()), sock)
	}
	if sock.calls.open(func() { s.connect(sock) }) {
		return
	}
	// The connection ended in this moment. The library has then missed the end
	// and would keep its socket for ever.
	s.forgetSocket(sock)
	lib.Disconnect(false)
}

// Name is how the library knows the transport.
func (t *session) Name() string { return t.conn.transport() }

// Send queues what the library has to say: OPEN, and the answer to CONNECT.
func (t *session) Send(packets []*packet.Packet) {
	c := t.conn
	for _, p := range packets {
		switch p.Type {
		case packet.OPEN:
			_ = c.push(textPacket("0" + c.srv.openData(t.Sid(), t.Name())))
		case packet.MESSAGE:
			if text, ok := p.Data.(*types.StringBuffer); ok {
				c.learn(text.Bytes())
				_ = c.push(textPacket("4" + text.String()))
			}
		default: // a PING in a hundred years
		}
	}
	t.Emit("drain") // or the library's list of callbacks grows
}

// openData is what the client is told of the session. The library's own would
// have its heartbeat.
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

// learn reads the private id, which the library shows nowhere else, off the
// CONNECT packet.
func (c *conn) learn(text []byte) {
	if len(text) == 0 || text[0] != byte(connectType) {
		return
	}
	var ids struct{ Pid string }
	if json.Unmarshal(text[1:], &ids) != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sock.pid = ids.Pid
}

// DoClose is called by the library when it wants the connection closed: when the
// client has not joined in time.
func (t *session) DoClose(done types.Callable) {
	t.conn.end(ReasonConnectTimeout, flush)
	if done != nil {
		done()
	}
}

// leaveLibrary tells the library that the connection has ended, once.
func (c *conn) leaveLibrary() {
	c.mu.Lock()
	t := c.session
	c.session = nil
	c.mu.Unlock()
	if t != nil {
		c.srv.guard(t.OnClose)
	}
}
