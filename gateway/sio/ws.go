package sio

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/gorilla/websocket"

	"github.com/codewar/socketbridge/gateway/limit"
)

// link is one websocket. What is written to it, but for the answer to a probe,
// is written by conn.write and conn.writeNow: gorilla's own writer is never used.
type link struct {
	ws       *websocket.Conn
	nc       net.Conn
	in       *inflow         // of nc
	deflates bool            // messages may be compressed, both ways
	answer   []byte          // to the handshake, until it is sent
	raw      syscall.RawConn // of nc; nil when attempts come to nothing
}

// upgrader makes links. Origins are AllowRequest's business. Read buffers are
// small because each idle connection has one, and what clients say is short; the
// write buffer is never asked for.
var upgrader = websocket.Upgrader{
	ReadBufferSize:    128,
	WriteBufferPool:   &sync.Pool{},
	CheckOrigin:       func(*http.Request) bool { return true },
	EnableCompression: true, // when settle has left an offer
	Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
		refuse(w, status, refusal{badRequest.Code, reason.Error()})
	},
}

var errProbe = errors.New("not the packet that an upgrade needs here")

// openLink answers the websocket handshake; on an error the client has its answer.
func (s *Server) openLink(w http.ResponseWriter, r *http.Request) (*link, error) {
	settled, deflates := settle(r, s.cfg.CompressAbove > 0)
	ws, err := upgrader.Upgrade(&withholding{w, s.cfg.InboundRate}, settled, nil)
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(s.cfg.MaxInbound) // as it comes off the wire; see incoming.message
	held := ws.NetConn().(*heldConn)
	return &link{ws: ws, nc: held.Conn, raw: rawConn(held.Conn), in: &held.in, deflates: deflates, answer: held.take()}, nil
}

// accept sends the answer to the handshake alone.
func (l *link) accept() error {
	_ = l.nc.SetWriteDeadline(time.Now().Add(closeGrace)) // a broken connection shows in the write
	_, err := l.nc.Write(l.answer)
	l.answer = nil
	if err != nil {
		l.nc.Close()
	}
	return err
}

// withholding is a response whose connection, when it is hijacked, keeps the answer
// back: the first packet then goes out with it, in one system call and one packet.
type withholding struct {
	http.ResponseWriter
	inboundRate int
}

// Hijack gives the connection away.
func (w *withholding) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if b, ok := nc.(*begun); ok && len(b.first) == 0 {
		nc = b.tcpConn
	}
	return &heldConn{Conn: nc, holds: true, in: inflow{rate: limit.NewByteRate(w.inboundRate)}}, rw, nil
}

// heldConn keeps what is written back until that is taken. Later writes pass.
// What is read comes at a pace.
type heldConn struct {
	net.Conn
	holds bool
	held  []byte
	in    inflow
}

func (c *heldConn) Read(b []byte) (int, error) { return c.in.read(c.Conn, b) }

func (c *heldConn) Write(b []byte) (int, error) {
	if !c.holds {
		return c.Conn.Write(b)
	}
	c.held = append(c.held, b...)
	return len(b), nil
}

func (c *heldConn) take() []byte {
	held := c.held
	c.holds, c.held = false, nil
	return held
}

// attach makes l the way to the client, for good. What was queued before goes
// out first. It reports false when nothing of the connection is left.
func (c *conn) attach(l *link) bool {
	l.ws.SetPingHandler(func(data string) error { return c.onFrame(func() error { return c.control(opPong, data) }) })
	l.ws.SetPongHandler(func(string) error { return c.onFrame(func() error { return nil }) })
	l.ws.SetCloseHandler(func(int, string) error { return nil }) // endLink answers
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.finished {
		return false
	}
	c.signal() // a GET that still hangs must go
	c.link, c.probe, c.probing = l, nil, false
	c.frameQueue(l.answer)
	l.answer = nil
	if c.ended {
		c.endLink(flush)
		return true
	}
	c.srv.metrics.moved(c.kind, websocketTransport)
	c.kind = websocketTransport
	return true
}

// open makes l the way to a client that has had a websocket from the start, and sends
// what the client waits for. It reports false when the connection has ended.
func (c *conn) open(l *link) bool {
	c.hold()
	attached := c.attach(l)
	c.writeHeld()
	if !attached {
		l.nc.Close()
	}
	return attached
}

// control queues a control frame.
func (c *conn) control(op byte, data string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return nil
	}
	if c.queued > c.srv.cfg.MaxPending {
		return ErrSlow // ends the reader, and with it the connection
	}
	c.appendControl(op, data)
	return nil
}

// appendControl queues a control frame. With c.mu held and a link.
func (c *conn) appendControl(op byte, data string) {
	if c.out == nil {
		c.out = buffers.Get().(*buffer)
	}
	before := len(c.out.b)
	c.out.b = append(appendFrameHeader(c.out.b, op, len(data)), data...)
	c.count(len(c.out.b) - before)
	c.signal()
}

// write empties the queue into the link, many packets in one system call, and waits
// for the client where it must.
func (c *conn) write() {
	for {
		out, l := c.takeOut()
		if out == nil {
			return
		}
		c.writeWaiting(l, out, 0)
	}
}

// takeOut returns what waits for a writer and where it goes. Nothing means that the
// caller is no longer the writer.
func (c *conn) takeOut() (*buffer, *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.out
	c.out = nil
	c.writing = out != nil
	return out, c.link
}

// writeWaiting writes out from its nth byte on, and is done with it.
func (c *conn) writeWaiting(l *link, out *buffer, n int) {
	err := c.writeOut(out.b[n:], func(b []byte) error {
		if err := l.nc.SetWriteDeadline(time.Now().Add(c.srv.cfg.WriteTimeout)); err != nil {
			return err
		}
		_, err := l.nc.Write(b)
		return err
	})
	out.release()
	if err != nil {
		c.end(writeReason(err), abort)
		return
	}
	_ = l.nc.SetWriteDeadline(time.Time{}) // an attempt fails after it; a closed connection needs none
}

func writeReason(err error) string {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ReasonSlow
	}
	return ReasonTransportClose
}

// endLink ends the websocket: now, or after the queue and a close frame. The
// reader closes the connection when the client has closed its side; closing
// earlier could reset it and take from the client what it has not read yet.
// With c.mu held.
func (c *conn) endLink(how farewell) {
	if how == abort {
		c.link.nc.Close()
		return
	}
	c.appendControl(opClose, closeNormal)
	if c.kill != nil {
		c.kill.Stop()
	}
	c.kill = time.AfterFunc(closeGrace, func() { c.link.nc.Close() })
}

// read hands on what the client sends until the link ends. An idle connection
// waits in here: the fewer bytes of stack up to this point, the sooner the garbage
// collector takes back the stack that its last message needed.
func (c *conn) read(l *link) { c.left(l, c.readMessages(l)) }

// left ends the connection because reading has ended, and is the last to leave:
// when it returns the link is closed and nobody writes to it.
func (c *conn) left(l *link, err error) {
	defer c.giveUp()
	defer l.nc.Close()
	var closed *websocket.CloseError
	switch {
	case errors.As(err, &closed):
		c.end(ReasonTransportClose, flush)
	case errors.Is(err, websocket.ErrReadLimit):
		c.end(ReasonTooLarge, flush)
	case errors.Is(err, errNamespaces):
		c.end(ReasonNamespaces, flush)
	case errors.Is(err, errNoise):
		c.end(ReasonRateLimited, flush)
	case errors.Is(err, errPacket):
		c.end(ReasonProtocol, flush)
	case errors.Is(err, ErrSlow):
		c.end(ReasonSlow, abort)
	default:
		c.end(ReasonTransportClose, abort)
	}
	c.writers.Wait()
}

func (c *conn) readMessages(l *link) error {
	in := incoming{c: c}
	for {
		err := in.message(l)
		if err == nil {
			err = c.receive(in.text)
		}
		in.release()
		if err != nil {
			return err
		}
	}
}

// upgrade takes a polling client through the probe: it asks on the websocket,
// lets go of polling, and only then says that it has come over.
func (c *conn) upgrade(l *link) {
	defer c.dropProbe(l)
	if c.setProbe(l) && c.exchangeProbe(l) && c.attach(l) {
		c.read(l)
	}
}

// exchangeProbe reports whether the client has come over.
func (c *conn) exchangeProbe(l *link) bool {
	if !c.take(inflateBytes) { // of the messages read here
		return false
	}
	defer c.memory.Release(inflateBytes)
	_ = l.nc.SetDeadline(time.Now().Add(c.srv.cfg.UpgradeTimeout)) // a broken connection shows in the read
	if l.expect("2probe") != nil {
		return false
	}
	c.letPollsGo()
	if _, err := l.nc.Write(textPacket("3probe").frame); err != nil {
		return false
	}
	if l.expect("5") != nil {
		return false
	}
	_ = l.nc.SetDeadline(time.Time{})
	return true
}

// expect reads one message, which must be want.
func (l *link) expect(want string) error {
	kind, r, err := l.ws.NextReader()
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(r, int64(len(want)+1)))
	if err != nil || kind != websocket.TextMessage || string(text) != want {
		return errProbe
	}
	return nil
}

// reserveProbe reports whether an upgrade may begin: there is one at a time.
func (c *conn) reserveProbe() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended || c.link != nil || c.probing {
		return false
	}
	c.probing = true
	return true
}

func (c *conn) setProbe(l *link) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.probe = l
	return !c.ended
}

// cutProbe closes the websocket of an upgrade. With c.mu held.
func (c *conn) cutProbe() {
	if c.probe != nil {
		c.probe.nc.Close()
	}
}

// dropProbe ends an upgrade that came to nothing. The client goes on polling.
func (c *conn) dropProbe(l *link) {
	c.mu.Lock()
	if l != nil && c.link == l {
		c.mu.Unlock()
		return // it has come to something
	}
	c.probe, c.probing, c.letGo = nil, false, false
	c.mu.Unlock()
	if l != nil {
		_ = l.nc.SetWriteDeadline(time.Now().Add(closeGrace)) // a broken connection shows in the write
		_, _ = l.nc.Write(closeFrame)                         // which comes too late or not at all when it is broken
		l.nc.Close()
	}
}
