package sio

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/codewar/socketbridge/gateway/limit"
)

// entrance is a listener that stands before an HTTP server. It reads what each
// connection begins with. A request for a websocket is served at once; any other
// connection is the HTTP server's, as if nobody had looked. To the HTTP server a
// websocket is a connection with buffers of eight kilobytes, a goroutine and one more
// that looks out for the client's leaving, all of which are given up a moment later.
type entrance struct {
	net.Listener
	srv      *Server
	path     string
	patience time.Duration
	others   chan arrival // for whoever calls Accept
	done     chan struct{}
	close    func() error
}

// tcpConn is plain TCP: *net.TCPConn, or [limit.Conn] around it.
type tcpConn interface {
	net.Conn
	syscall.Conn
	io.ReaderFrom
	CloseWrite() error
}

// arrival is what Accept returns.
type arrival struct {
	conn net.Conn
	err  error
}

// WebsocketListener serves those connections of l that begin with a request for a websocket
// at path, and leaves the others to whoever accepts from the listener it returns. What is
// not plain TCP, such as TLS, is among the others, and so are all after [Server.Close].
// A connection on which nothing comes within patience is closed; 0 means that it may
// take for ever. Close closes l.
func (s *Server) WebsocketListener(l net.Listener, path string, patience time.Duration) net.Listener {
	e := &entrance{Listener: l, srv: s, path: path, patience: patience, others: make(chan arrival), done: make(chan struct{})}
	e.close = sync.OnceValue(func() error {
		close(e.done)
		return l.Close()
	})
	go e.run()
	return e
}

// Close closes the listener.
func (e *entrance) Close() error { return e.close() }

// Accept returns the next connection that is not ours.
func (e *entrance) Accept() (net.Conn, error) {
	select {
	case a := <-e.others:
		return a.conn, a.err
	case <-e.done:
		return nil, net.ErrClosed
	}
}

// run accepts until the listener is closed.
func (e *entrance) run() {
	for {
		conn, err := e.Listener.Accept()
		if tcp, ok := conn.(tcpConn); ok && err == nil && e.srv.meet(tcp) {
			go e.meet(tcp)
		} else if !e.leave(arrival{conn, err}) {
			return
		}
	}
}

// leave hands a connection, or the reason why there is none, to whoever calls Accept.
func (e *entrance) leave(a arrival) bool {
	select {
	case e.others <- a:
		return true
	case <-e.done:
		if a.conn != nil {
			a.conn.Close()
		}
		return false
	}
}

// newcomers are connections on which nothing has come yet.
type newcomers struct {
	mu    sync.Mutex // guards what follows
	conns map[tcpConn]struct{}
}

func (n *newcomers) add(conn tcpConn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conns == nil {
		n.conns = make(map[tcpConn]struct{})
	}
	n.conns[conn] = struct{}{}
}

func (n *newcomers) remove(conn tcpConn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, conn)
}

// cut closes them all.
func (n *newcomers) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for conn := range n.conns {
		_ = conn.Close() // its reader sees that
	}
}

// meet counts a connection that has just come, until its entrance has served it or left
// it to others. It reports false after Close.
func (s *Server) meet(conn tcpConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.work.Add(1)
	s.newcomers.add(conn)
	return true
}

// firsts are lent to connections for their first request.
var firsts = sync.Pool{New: func() any {
	f := new(first)
	f.in = bufio.NewReaderSize(&f.unread, 1<<10)
	f.out = bufio.NewReadWriter(bufio.NewReaderSize(nil, 16), bufio.NewWriterSize(nil, 512))
	return f
}}

// first is what a connection begins with, and what gorilla needs to answer it.
type first struct {
	b      [4 << 10]byte
	unread bytes.Reader
	in     *bufio.Reader
	out    *bufio.ReadWriter // the response goes through its buffer, which must be empty
}

func (f *first) release() {
	f.out.Writer.Reset(nil)
	firsts.Put(f)
}

// meet reads what the connection begins with and serves it, or leaves it to others.
func (e *entrance) meet(conn tcpConn) {
	defer e.srv.work.Done()
	roomy()
	f := firsts.Get().(*first)
	defer f.release()
	if e.patience > 0 {
		_ = conn.SetReadDeadline(time.Now().Add(e.patience)) // a closed connection shows in the read
	}
	n, err := conn.Read(f.b[:])
	e.srv.newcomers.remove(conn)
	if err != nil {
		_ = conn.Close() // it is of no use
		return
	}
	var t *turn
	var r *http.Request
	if asksWebsocket(f.b[:n], e.path) {
		if c := limit.ConnOf(conn); c != nil {
			c.SetIdle(false) // of the HTTP server's connections it is said in its ConnState
		}
		t = e.srv.takeTurn(context.Background()) // nil: too many wait, which begin says
		r = f.request(n, e.path)
	}
	if r == nil {
		e.srv.limits.turns.end(t)
		_ = conn.SetReadDeadline(time.Time{})
		e.leave(arrival{conn: &begun{conn, bytes.Clone(f.b[:n])}})
		return
	}
	r.RemoteAddr = conn.RemoteAddr().String()
	a := &answer{conn: conn, turn: t, out: f.out, header: make(http.Header)}
	e.srv.ServeHTTP(a, r)
	e.srv.limits.turns.end(a.turn)
	a.end()
}

// begun is a connection of which something was read, which is read again.
type begun struct {
	tcpConn
	first []byte
}

// NetConn is the connection below, by which [limit.ConnOf] finds it.
func (c *begun) NetConn() net.Conn { return c.tcpConn }

func (c *begun) Read(b []byte) (int, error) {
	if len(c.first) == 0 {
		return c.tcpConn.Read(b)
	}
	n := copy(b, c.first)
	c.first = c.first[n:]
	return n, nil
}

// WriteTo would go past what was read.
func (c *begun) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{c})
}

// answer is the response to a request for a websocket. Unless that takes the
// connection over, it is the last on it.
type answer struct {
	conn     tcpConn
	turn     *turn // in which it is made; nil: there was none, or begin has ended it
	out      *bufio.ReadWriter
	header   http.Header
	status   int
	body     bytes.Buffer
	hijacked bool
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

// Hijack gives the connection away.
func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if a.hijacked {
		return nil, nil, http.ErrHijacked
	}
	a.hijacked = true
	return a.conn, a.out, nil
}

// end sends what there is to say and closes a connection that is still here.
func (a *answer) end() {
	if a.hijacked {
		return
	}
	defer func() { _ = a.conn.Close() }() // all is said
	a.WriteHeader(http.StatusOK)
	a.header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	res := &http.Response{
		StatusCode: a.status, ProtoMajor: 1, ProtoMinor: 1, Close: true,
		Header: a.header, Body: io.NopCloser(&a.body), ContentLength: int64(a.body.Len()),
	}
	_ = a.conn.SetWriteDeadline(time.Now().Add(closeGrace)) // a broken connection shows in the write
	_ = res.Write(a.conn)                                   // who is gone needs no answer
}
