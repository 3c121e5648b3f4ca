package sio

import (
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/zishang520/engine.io-go-parser/packet"
	"github.com/zishang520/engine.io/v2/engine"
	"github.com/zishang520/engine.io/v2/events"
	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io-go-parser/v2/parser"
	"github.com/zishang520/socket.io/v2/socket"
)

// This file is the seam to github.com/zishang520/socket.io/v2, the prescribed library; no other
// file imports it. The library does one thing for us: it runs the CONNECT of the namespace "/"
// for each client, that is, it makes its socket with the id that we give, encodes the answer
// and emits "connection". It does nothing else: HTTP, both transports, sessions and their
// recovery, upgrades, heartbeats, decoding, events, acknowledgements, queues and disconnects
// are this package's own, for the reasons in doc.go.
//
// The library holds a client only during [library.join]. A session of its own would cost three
// goroutines and timers for each client.
//
// Each client is a recovered one to the library, because the library admits recovered clients
// synchronously and others on a goroutine of their own. The session that it recovers is the
// socket that conn.join has made or restored. The client cannot tell: it compares private ids.

// never is the library's ping interval: heartbeat.go has the heartbeat.
const never = 100 * 365 * 24 * time.Hour

// library is the library's side of a Server.
type library struct {
	io      *socket.Server
	engine  engine.Server
	request *types.HttpContext // stands for each handshake request; the library reads none
}

func newLibrary(s *Server) library {
	recovery := &socket.ConnectionStateRecovery{} // makes the library call RestoreSession
	recovery.SetMaxDisconnectionDuration(0)       // read by the library's own adapter only
	recovery.SetSkipMiddlewares(true)

	opts := socket.DefaultServerOptions()
	opts.SetServeClient(false)
	opts.SetTransports(types.NewSet(s.cfg.Transports...))
	opts.SetPingInterval(never)
	opts.SetPingTimeout(never)
	opts.SetConnectTimeout(never) // conn.startHeartbeat sets the time-out
	opts.SetConnectionStateRecovery(recovery)
	opts.SetAdapter(adapters{s})
	opts.SetParser(codec{parser.NewParser()})

	lib := library{
		io:      socket.NewServer(nil, opts),
		engine:  engine.MakeServer(),
		request: types.NewHttpContext(noResponse{}, &http.Request{Method: http.MethodGet, URL: &url.URL{RawQuery: "EIO=4"}}),
	}
	lib.request.Flush() // ends its goroutine
	lib.engine.Construct(opts)
	lib.io.Bind(lib.engine)
	_ = lib.io.On("connection", func(args ...any) { // cannot fail
		s.guard(func() {
			joined := args[0].(*socket.Socket)
			joined.Nsp().Remove(joined) // all that the library keeps
			joined.Conn().(*session).conn.joined()
		})
	})
	return lib
}

// close closes the library's server.
func (l *library) close() { l.io.Close(nil) }

// noResponse is a response to which the library never writes.
type noResponse struct{}

func (noResponse) Header() http.Header       { return http.Header{} }
func (noResponse) Write([]byte) (int, error) { return 0, http.ErrHijacked }
func (noResponse) WriteHeader(int)           {}

// join runs the CONNECT of a client whose socket has its ids. Before it returns, the library
// has queued the answer and [conn.joined] was called.
func (l *library) join(c *conn) {
	t := &session{lib: l, conn: c}
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

// session presents a conn to the library as an open Engine.IO socket. Its only event is "data".
// The methods that are not here are never called.
type session struct {
	engine.Socket // nil
	lib           *library
	conn          *conn
	data          events.Listener // takes decoded packets
}

// On stores the listener for "data".
func (t *session) On(name events.EventName, to ...events.Listener) error {
	if name == "data" {
		t.data = to[0]
	}
	return nil
}

// Once ignores the listener for "close", an event that is never emitted.
func (*session) Once(events.EventName, ...events.Listener) error { return nil }

// RemoveListener removes nothing: the session is discarded with its listeners.
func (*session) RemoveListener(events.EventName, events.Listener) bool { return true }

func (t *session) Id() string                  { return t.conn.sid }
func (*session) Protocol() int                 { return 4 }
func (*session) ReadyState() string            { return "open" }
func (*session) RemoteAddress() string         { return "" }
func (t *session) Request() *types.HttpContext { return t.lib.request }

// Write queues the library's only packet, the answer to CONNECT.
func (t *session) Write(text io.Reader, _ *packet.Options, _ engine.SendCallback) engine.Socket {
	if text, ok := text.(*types.StringBuffer); ok {
		_ = t.conn.push(textPacket("4" + text.String())) // a closed connection needs no answer
	}
	return t
}

// Close ends the connection; the library calls it for a packet that it rejects.
func (t *session) Close(bool) { t.conn.end(ReasonProtocol, flush) }

// codec is the library's parser with a decoder that takes decoded packets.
type codec struct{ parser.Parser }

func (codec) NewDecoder() parser.Decoder { return new(decoder) }

type decoder struct {
	parser.Decoder // nil
	decoded        events.Listener
}

// On stores the only listener, the one for "decoded".
func (d *decoder) On(_ events.EventName, to ...events.Listener) error {
	d.decoded = to[0]
	return nil
}

// Add passes a packet to the listener.
func (d *decoder) Add(packet any) error {
	d.decoded(packet)
	return nil
}

// Destroy and RemoveListener do nothing: the decoder is discarded with its session.
func (*decoder) Destroy()                                              {}
func (*decoder) RemoveListener(events.EventName, events.Listener) bool { return true }

// adapters makes the adapter of the only namespace.
type adapters struct{ srv *Server }

func (a adapters) New(nsp socket.Namespace) socket.Adapter {
	ad := &adapter{socket.MakeAdapter(), a.srv}
	ad.Prototype(ad)
	ad.Construct(nsp)
	return ad
}

// adapter keeps no rooms, because this package never broadcasts, and no sessions, because the
// Handler restores them.
type adapter struct {
	socket.Adapter
	srv *Server
}

func (*adapter) AddAll(socket.SocketId, *types.Set[socket.Room]) {}
func (*adapter) Del(socket.SocketId, socket.Room)                {}
func (*adapter) DelAll(socket.SocketId)                          {}

// RestoreSession returns the socket that conn.join has made or restored. The argument is not
// the client's private id: library.join passes the session id in its place.
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
