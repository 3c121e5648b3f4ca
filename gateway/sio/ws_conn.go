package sio

import (
	"bufio"
	"net"
	"net/http"
	"sync"

	"github.com/codewar/socketbridge/gateway/limit"
)

// wsConn is the network connection of a websocket. It holds back what is written until take:
// the answer to the handshake then goes out with the first packet, in one system call. It reads
// at Config.InboundRate.
//
// Figure: a connect takes 402 µs of CPU, client included, instead of 422 with two system calls.
type wsConn struct {
	net.Conn
	deferring bool
	deferred  []byte // written while deferring

	// For the one goroutine that reads.
	rate  *limit.ByteRate
	piece *[limit.PieceBytes]byte // read and not yet consumed; nil for none
	rest  []byte                  // of piece
	wire  int64                   // bytes read
	full  bool                    // the last read filled its buffer
}

// pieces are lent to connections that send in bulk, while they hold unconsumed bytes. Other
// connections are read with gorilla's small buffer, so that an idle one holds no more.
//
// Figure: a megabyte in fragments of 10 bytes takes 53 ms of CPU, client included, instead of 80,
// of 100 bytes 36 instead of 48; of 1,000 bytes and more the same (BenchmarkInbound).
var pieces = sync.Pool{New: func() any { return new([limit.PieceBytes]byte) }}

func (c *wsConn) Read(b []byte) (int, error) {
	if c.piece == nil {
		c.rate.Pause()
		if !c.full || len(b) >= limit.PieceBytes || !c.rate.Bulk() {
			return c.readWire(b[:min(len(b), limit.PieceBytes)])
		}
		c.piece = pieces.Get().(*[limit.PieceBytes]byte) // more bytes are there: it is not held for long
		n, err := c.readWire(c.piece[:])
		if c.rest = c.piece[:n]; n == 0 {
			c.releasePiece()
			return 0, err
		} // else the next read returns the error again
	}
	n := copy(b, c.rest)
	if c.rest = c.rest[n:]; len(c.rest) == 0 {
		c.releasePiece()
	}
	return n, nil
}

func (c *wsConn) readWire(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.wire += int64(n)
	c.rate.Count(n)
	c.full = n == len(b)
	return n, err
}

func (c *wsConn) releasePiece() {
	pieces.Put(c.piece)
	c.piece, c.rest = nil, nil
}

func (c *wsConn) Write(b []byte) (int, error) {
	if !c.deferring {
		return c.Conn.Write(b)
	}
	c.deferred = append(c.deferred, b...)
	return len(b), nil
}

// take returns what was held back. Later writes pass.
func (c *wsConn) take() []byte {
	b := c.deferred
	c.deferring, c.deferred = false, nil
	return b
}

// wsWriter is a response whose hijacked connection is a wsConn.
type wsWriter struct {
	http.ResponseWriter
	inboundRate int
}

// Hijack takes the connection over.
func (w *wsWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if r, ok := nc.(*replayConn); ok && len(r.first) == 0 {
		nc = r.tcpConn
	}
	return &wsConn{Conn: nc, deferring: true, rate: limit.NewByteRate(w.inboundRate)}, rw, nil
}
