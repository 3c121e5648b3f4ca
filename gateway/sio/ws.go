package sio

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
)

// link is one websocket. Only conn.write, conn.writeNow and the probe of an upgrade write to it,
// never gorilla's own writer.
type link struct {
	ws       *websocket.Conn
	nc       net.Conn
	in       *wsConn         // around nc
	deflates bool            // messages may be compressed, both ways
	answer   []byte          // to the handshake, until it is sent
	raw      syscall.RawConn // of nc; nil when it is not plain TCP
}

// upgrader makes links. Config.AllowRequest checks origins. The read buffer is small because
// each idle connection has one and clients send little. The write buffer is never used.
var upgrader = websocket.Upgrader{
	ReadBufferSize:    128,
	WriteBufferPool:   &sync.Pool{},
	CheckOrigin:       func(*http.Request) bool { return true },
	EnableCompression: true, // when negotiateDeflate has left an offer
	Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
		refuse(w, status, refusal{badRequest.Code, reason.Error()})
	},
}

var errProbe = errors.New("not the packet that an upgrade needs here")

// openLink handles the websocket handshake. On an error it has answered the client.
func (s *Server) openLink(w http.ResponseWriter, r *http.Request) (*link, error) {
	negotiated, deflates := negotiateDeflate(r, s.cfg.CompressAbove > 0)
	ws, err := upgrader.Upgrade(&wsWriter{w, s.cfg.InboundRate}, negotiated, nil)
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(s.cfg.MaxInbound) // on the wire; see incoming.message
	in := ws.NetConn().(*wsConn)
	l := &link{ws: ws, nc: in.Conn, in: in, deflates: deflates, answer: in.take()}
	if tcp, ok := in.Conn.(tcpConn); ok {
		l.raw, _ = tcp.SyscallConn() // nil when it fails: each write then waits
	}
	return l, nil
}

// accept sends the answer to the handshake on its own.
func (l *link) accept() error {
	_ = l.nc.SetWriteDeadline(time.Now().Add(closeGrace)) // a broken connection shows in the write
	_, err := l.nc.Write(l.answer)
	l.answer = nil
	if err != nil {
		l.nc.Close()
	}
	return err
}

// attach switches the connection to l, for good. What was queued before is written first. It
// reports false when the connection has finished.
func (c *conn) attach(l *link) bool {
	l.ws.SetPingHandler(func(data string) error { return c.onFrame(func() error { return c.control(opPong, data) }) })
	l.ws.SetPongHandler(func(string) error { return c.onFrame(func() error { return nil }) })
	l.ws.SetCloseHandler(func(int, string) error { return nil }) // endLink answers
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.finished {
		return false
	}
	c.signal() // a GET that waits must return
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

// open attaches l to a session that began with it, and writes what is queued. It reports false
// when the connection has ended.
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
		return ErrSlow // ends the reader, which ends the connection
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

// takeOut returns what waits for a writer, and the link. With nil the caller is no longer the
// writer.
func (c *conn) takeOut() (*buffer, *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.out
	c.out = nil
	c.writing = out != nil
	return out, c.link
}

// writeWaiting writes out from its nth byte on, waiting for the client, and releases it.
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
	_ = l.nc.SetWriteDeadline(time.Time{}) // after a deadline tryWrite fails; a closed connection needs none
}

func writeReason(err error) string {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ReasonSlow
	}
	return ReasonTransportClose
}

// endLink ends the websocket, at once or after the queue and a close frame. The reader closes
// the connection when the client has closed its side: closing earlier may reset it and discard
// what the client has not read. With c.mu held.
func (c *conn) endLink(how closeMode) {
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

// read handles what the client sends until the link ends. An idle connection waits in here: a
// small frame lets the garbage collector shrink the stack that the last message needed.
func (c *conn) read(l *link) { c.left(l, c.readMessages(l)) }

// left ends the connection because reading has ended. When it returns, the link is closed and no
// goroutine writes to it.
func (c *conn) left(l *link, err error) {
	defer c.giveUp()
	defer l.nc.Close()
	c.end(endOf(err))
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

// upgrade moves a polling client to a websocket: the client sends a probe, stops polling, and
// then confirms the upgrade.
func (c *conn) upgrade(l *link) {
	defer c.dropProbe(l)
	if c.setProbe(l) && c.exchangeProbe(l) && c.attach(l) {
		c.read(l)
	}
}

// exchangeProbe reports whether the client has confirmed the upgrade.
func (c *conn) exchangeProbe(l *link) bool {
	if !c.take(inflateBytes) { // for the messages read here
		return false
	}
	defer c.memory.Release(inflateBytes)
	_ = l.nc.SetDeadline(time.Now().Add(c.srv.cfg.UpgradeTimeout)) // a broken connection shows in the read
	if l.expect("2probe") != nil {
		return false
	}
	c.releasePolls()
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

// reserveProbe reports whether an upgrade may begin. There is one at a time.
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

// dropProbe ends an upgrade, unless it has succeeded. The client continues to poll.
func (c *conn) dropProbe(l *link) {
	c.mu.Lock()
	if l != nil && c.link == l {
		c.mu.Unlock()
		return
	}
	c.probe, c.probing, c.releasePoll = nil, false, false
	c.mu.Unlock()
	if l != nil {
		_ = l.nc.SetWriteDeadline(time.Now().Add(closeGrace)) // a broken connection shows in the write
		_, _ = l.nc.Write(closeFrame)                         // a lost frame changes nothing
		l.nc.Close()
	}
}
