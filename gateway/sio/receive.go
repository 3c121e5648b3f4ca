package sio

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// receive handles one Engine.IO packet of the client. On an error, which means that the client
// has broken a rule, the caller must end the connection.
func (c *conn) receive(text []byte) (err error) {
	c.inbound.Lock()
	defer c.inbound.Unlock()
	c.hold()
	defer c.writeHeld()
	if !c.srv.guard(func() { err = c.handle(text) }) {
		return errPacket
	}
	return err
}

func (c *conn) handle(text []byte) error {
	if c.hasEnded() {
		return nil
	}
	if len(text) == 0 {
		return errPacket
	}
	switch text[0] {
	case '1': // close
		c.endByClient()
		return nil
	case '3':
		if !c.onPong() {
			return c.countIdleFrame()
		}
		return nil
	case '0', '5', '6': // ignored, as by Socket.IO
		return c.countIdleFrame()
	case attachment[0]:
		return c.handleAttachment()
	case '4':
		if c.binary != nil {
			return fmt.Errorf("%w: attachment missing", errPacket)
		}
		if largeConnect(text, c.srv.cfg.MaxConnect) {
			c.endRefused(connectNamespace(text), tooLargeConnect("CONNECT is larger than %d bytes", c.srv.cfg.MaxConnect), ReasonTooLarge)
			return nil
		}
		p, err := parsePacket(text[1:])
		if err != nil {
			return err
		}
		if p.attachments > 0 {
			c.holdBinary(p, cap(text))
			return nil
		}
		return c.handlePacket(p, cap(text))
	default: // unknown, or only for servers to send: pings
		return fmt.Errorf("%w: engine type %q", errPacket, text[0])
	}
}

// binaryPacket is a packet that is handled when its last attachment has come. The attachments
// are discarded.
type binaryPacket struct {
	inPacket
	size int // bytes counted for the client until it is handled
}

// holdBinary keeps a packet until its attachments have come.
func (c *conn) holdBinary(p inPacket, size int) {
	if c.take(size) {
		c.binary = &binaryPacket{p, size}
	}
}

// handleAttachment discards an attachment. After the last one it handles the packet.
func (c *conn) handleAttachment() error {
	b := c.binary
	if b == nil {
		return fmt.Errorf("%w: binary data", errPacket)
	}
	if b.attachments--; b.attachments > 0 {
		return nil
	}
	c.binary = nil
	c.memory.Release(b.size)
	return c.handlePacket(b.inPacket, b.size)
}

// handlePacket handles a packet whose arguments keep size bytes in memory.
func (c *conn) handlePacket(p inPacket, size int) error {
	s := c.socket()
	switch {
	case p.refusal != nil:
		c.endRefused(p.nsp, p.refusal, ReasonTooLarge)
		return nil
	case p.nsp != "/":
		return c.refuseNamespace(p)
	case p.typ == connectType && s == nil && c.ctx.Err() == nil:
		c.join(p.auth)
		return nil
	case p.typ == connectType && s == nil:
		// The client has left and joins again. What its handshake has presented is no longer
		// kept, so it must connect again, which its library does.
		c.end(ReasonClientLeft, flush)
		return nil
	case p.typ == connectType || s == nil:
		return fmt.Errorf("%w: out of turn", errPacket)
	case p.typ == disconnectType:
		c.leave()
		return nil
	case p.typ == ackType && s.acks.has(*p.id):
		return c.call(s, size, p.args, func() {
			if done, ok := s.acks.take(*p.id); ok {
				done(p.args, nil)
			}
		})
	}
	if c.limiter.over(time.Now(), c.srv.cfg.EventsPerMinute) {
		c.refuseFlood(s)
		return nil
	}
	if p.typ == ackType {
		return nil // late, or never asked for
	}
	var ack func(...any)
	if p.id != nil {
		ack = s.answer(*p.id)
	}
	return c.call(s, size, p.args, func() { c.srv.handler.Event(s, p.event, p.args, ack) })
}

// call queues a call of the Handler for a packet of so many bytes with these arguments. It ends
// a connection whose queue is full.
func (c *conn) call(s *Socket, packet int, args []json.RawMessage, run func()) error {
	const fixed, perArgument = 256, 24 // bytes of a call, and of a json.RawMessage
	size := fixed + packet + perArgument*len(args)
	if !c.take(size) {
		return nil
	}
	if err := s.queue.add(size, run); err != nil {
		c.memory.Release(size)
		if errors.Is(err, errOverrun) {
			c.end(ReasonOverrun, flush)
		}
	}
	return nil
}

// refuseNamespace answers a packet for a namespace other than "/".
func (c *conn) refuseNamespace(p inPacket) error {
	if p.typ != connectType {
		return fmt.Errorf("%w: unknown namespace", errPacket)
	}
	if c.foreignNamespaces++; c.foreignNamespaces > maxForeignNamespaces {
		return errNamespaces
	}
	_ = c.push(textPacket("44" + p.nsp + `,{"message":"Invalid namespace"}`)) // a closed connection needs no answer
	return nil
}

// refuseFlood ends a client that sends too many events, so that it does not reconnect.
func (c *conn) refuseFlood(s *Socket) {
	_ = s.Emit("error", map[string]any{ // a closed socket needs no answer
		"type":    "RATE_LIMITED",
		"message": "Too many events",
		"details": map[string]any{"limit": c.srv.cfg.EventsPerMinute, "window": "1m"},
	})
	c.end(ReasonRateLimited, sayGoodbye)
}

// countIdleFrame counts a packet or frame that has no effect. Each costs what an event costs:
// a system call to read it and, for a ping, one to answer. With c.inbound held.
func (c *conn) countIdleFrame() error {
	if c.idleFrames.over(time.Now(), maxIdleFrames) {
		return errIdleFrames
	}
	return nil
}

// onFrame handles a websocket ping or pong, which the reader sees before any packet.
func (c *conn) onFrame(answer func() error) error {
	c.inbound.Lock()
	defer c.inbound.Unlock()
	if err := c.countIdleFrame(); err != nil {
		return err
	}
	return answer()
}

// limiter counts events in windows of a minute. A window begins with its first event.
type limiter struct {
	since time.Time
	n     int
}

// over counts one event and reports whether it exceeds the limit; 0 is no limit.
func (l *limiter) over(now time.Time, limit int) bool {
	if limit <= 0 {
		return false
	}
	if now.Sub(l.since) >= time.Minute {
		l.since, l.n = now, 0
	}
	l.n++
	return l.n > limit
}
