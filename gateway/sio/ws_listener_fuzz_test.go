package sio

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// httpOracle is a net/http server that says what it makes of the first request on a connection.
type httpOracle struct {
	conns chan net.Conn
	done  chan struct{}
}

// oracleConn is a connection on which some bytes come and then nothing more.
type oracleConn struct {
	in      bytes.Reader
	out     bytes.Buffer
	request *http.Request // that was served first
	served  int
	closed  chan struct{}
}

type oracleKey struct{}

func newOracle(tb testing.TB) *httpOracle {
	o := &httpOracle{conns: make(chan net.Conn), done: make(chan struct{})}
	srv := &http.Server{
		MaxHeaderBytes: 32 << 10, // http.max_header
		ConnContext:    func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, oracleKey{}, c) },
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			c := r.Context().Value(oracleKey{}).(*oracleConn)
			if c.served++; c.served == 1 {
				c.request = r.Clone(context.Background())
			}
		}),
	}
	served := make(chan struct{})
	go func() { defer close(served); _ = srv.Serve(o) }()
	tb.Cleanup(func() {
		srv.Close()
		<-served
	})
	return o
}

// ask returns the request that net/http serves for these bytes, nil when it refuses them, and
// how many it serves.
func (o *httpOracle) ask(b []byte) (*http.Request, int) {
	c := &oracleConn{closed: make(chan struct{})}
	c.in.Reset(b)
	o.conns <- c
	<-c.closed
	return c.request, c.served
}

func (o *httpOracle) Accept() (net.Conn, error) {
	select {
	case c := <-o.conns:
		return c, nil
	case <-o.done:
		return nil, net.ErrClosed
	}
}
func (o *httpOracle) Close() error   { close(o.done); return nil }
func (o *httpOracle) Addr() net.Addr { return &net.TCPAddr{} }

func (c *oracleConn) Read(b []byte) (int, error)       { return c.in.Read(b) }
func (c *oracleConn) Write(b []byte) (int, error)      { return c.out.Write(b) }
func (c *oracleConn) Close() error                     { close(c.closed); return nil }
func (c *oracleConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *oracleConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *oracleConn) SetDeadline(time.Time) error      { return nil }
func (c *oracleConn) SetReadDeadline(time.Time) error  { return nil }
func (c *oracleConn) SetWriteDeadline(time.Time) error { return nil }

// earlyRequest is what a WebsocketListener makes of the first bytes of a connection.
func earlyRequest(b []byte) *http.Request {
	f := requestBuffers.Get().(*requestBuffer)
	defer f.release()
	n := copy(f.b[:], b)
	if !asksWebsocket(f.b[:n], "/socket.io/") {
		return nil
	}
	return f.parse(n, "/socket.io/")
}

// unusual are requests that differ from an ordinary one in a way that net/http refuses, or
// that leaves a choice. A WebsocketListener must leave each of them to net/http.
var unusual = map[string]string{
	"space before the colon":     "Origin : http://a.example\r\n",
	"two of a name":              "Origin: http://a.example\r\nOrigin: http://b.example\r\n",
	"two of other case":          "Origin: http://a.example\r\norigin: http://b.example\r\n",
	"second host":                "Host: y\r\n",
	"folded line":                "X-A: a\r\n b\r\n",
	"line feed alone":            "X-A: a\nX-B: b\r\n",
	"carriage return in a value": "X-A: a\rb\r\n",
	"null in a value":            "X-A: a\x00b\r\n",
	"no name":                    ": a\r\n",
	"no colon":                   "Origin\r\n",
	"name that is not a token":   "X(A): a\r\n",
	"not ASCII":                  "X-A: \xff\r\n",
	"body":                       "Content-Length: 0\r\n",
	"chunked":                    "Transfer-Encoding: chunked\r\n",
	"chunked, misspelt":          "Transfer-Encoding: xchunked\r\n",
	"trailer":                    "Trailer: X-A\r\n",
	"expectation":                "Expect: 100-continue\r\n",
}

// TestUnusualRequests: what is unusual is for net/http to judge.
func TestUnusualRequests(t *testing.T) {
	t.Parallel()
	for name, field := range unusual {
		if earlyRequest([]byte(askWebsocket+field+"\r\n")) != nil {
			t.Errorf("%s: served early", name)
		}
	}
	for _, ask := range []string{
		strings.Replace(askWebsocket, "HTTP/1.1", "HTTP/1.0", 1), strings.Replace(askWebsocket, "HTTP/1.1", "HTTP/2.0", 1),
		strings.Replace(askWebsocket, "Host: x", "Host: x y", 1), strings.Replace(askWebsocket, "Host: x", "Host: ", 1),
		strings.Replace(askWebsocket, "Host: x", "Host: x/y", 1), strings.Replace(askWebsocket, "Host: x", "Host: x@y", 1),
		strings.Replace(askWebsocket, "EIO=4", "EIO=4\x7f", 1), strings.Replace(askWebsocket, "EIO=4", "EIO=4#", 1),
		strings.Replace(askWebsocket, "EIO=4", "EIO=4 x", 1), "\r\n" + askWebsocket, strings.ReplaceAll(askWebsocket, "\r\n", "\n"),
	} {
		if earlyRequest([]byte(ask+"\r\n")) != nil {
			t.Errorf("%q: served early", ask)
		}
	}
}

// usual are requests as clients send them.
var usual = []string{
	askWebsocket,
	"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:3004\r\nConnection: Upgrade\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n" +
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\nUpgrade: websocket\r\n" +
		"Origin: http://localhost:3000\r\nSec-WebSocket-Version: 13\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\n" +
		"Cookie: a=b; c=\"d\"\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
	"GET /socket.io/?transport=websocket&EIO=4&t=1764238.123 HTTP/1.1\r\nUpgrade: websocket\r\nHost: [::1]:3004\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
		"Sec-WebSocket-Version: 13\r\nConnection: keep-alive, Upgrade\r\nAuthorization: Bearer a.b-c_d\r\n",
}

// TestUsualRequests: what clients send is served early.
func TestUsualRequests(t *testing.T) {
	t.Parallel()
	for _, ask := range usual {
		if earlyRequest([]byte(ask+"\r\n")) == nil {
			t.Errorf("left to net/http: %q", ask)
		}
	}
}

// FuzzEarlyRequest: what a WebsocketListener serves, net/http serves too, as one request with the
// same method, target, host and header.
func FuzzEarlyRequest(f *testing.F) {
	for _, ask := range usual {
		f.Add([]byte(ask + "\r\n"))
		for _, field := range unusual {
			f.Add([]byte(ask + field + "\r\n"))
		}
	}
	f.Add([]byte(askWebsocket + "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	o := newOracle(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		got := earlyRequest(b)
		if got == nil {
			return
		}
		want, n := o.ask(b)
		if want == nil || n != 1 {
			t.Fatalf("net/http serves %d requests", n)
		}
		if body, err := io.ReadAll(got.Body); err != nil || len(body) > 0 {
			t.Fatalf("body %q, %v", body, err)
		}
		type request struct {
			Method, RequestURI, Proto, Host, URL string
			Length                               int64
			Header                               http.Header
		}
		of := func(r *http.Request) request {
			return request{r.Method, r.RequestURI, r.Proto, r.Host, r.URL.String(), r.ContentLength, r.Header}
		}
		if diff := cmp.Diff(of(want), of(got)); diff != "" {
			t.Fatal(diff)
		}
	})
}
