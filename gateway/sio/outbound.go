package sio

import (
	"bytes"
	"context"
	"sync"

	"github.com/codewar/socketbridge/gateway/limit"
)

const (
	separator = 0x1e     // between the packets of a polling payload
	chunk     = 64 << 10 // bytes written under one deadline
	minBuffer = 2 << 10  // bytes of a buffer from the pool, at least
)

// buffer is what waits for a writer. Connections have one only while something
// waits; it then goes back to the pool.
type buffer struct{ b []byte }

var buffers = sync.Pool{New: func() any { return &buffer{make([]byte, 0, minBuffer)} }}

// Write appends. It never fails.
func (b *buffer) Write(p []byte) (int, error) {
	b.b = append(b.b, p...)
	return len(p), nil
}

func (b *buffer) release() {
	if cap(b.b) > chunk || cap(b.b) < minBuffer {
		return // a burst's buffer must not stay for ever, nor what splitPayload has left of one
	}
	b.b = b.b[:0]
	buffers.Put(b)
}

// push queues a packet for the client and has it written. It never waits.
func (c *conn) push(p *Packet) error { return c.put(nil, p, c.signal) }

// put queues a packet of s, or of the connection itself when s is nil. It is written by
// whomever schedule finds for that, which is called with c.mu held.
func (c *conn) put(s *Socket, p *Packet, schedule func()) error {
	c.mu.Lock()
	if c.ended || s != nil && s != c.sock {
		c.mu.Unlock()
		return ErrClosed
	}
	if c.queued > 0 && c.queued+len(p.frame) > c.srv.cfg.MaxPending {
		c.mu.Unlock()
		c.end(ReasonSlow, abort)
		return ErrSlow
	}
	level := c.add(p)
	schedule()
	c.mu.Unlock()
	if reached := c.srv.relieve(c.memory, level); reached != "" {
		c.end(memoryReasons[reached], abort)
		return ErrSlow
	}
	return nil
}

// append queues a packet without asking for room, and has it written. With c.mu held.
func (c *conn) append(p *Packet) {
	c.add(p)
	c.signal()
}

// add queues a packet. With c.mu held.
func (c *conn) add(p *Packet) limit.Level {
	if c.out == nil {
		c.out = buffers.Get().(*buffer)
	}
	before := len(c.out.b)
	if c.link != nil {
		c.out.b = append(c.out.b, c.form(p)...)
	} else {
		if before > 0 {
			c.out.b = append(c.out.b, separator)
		}
		c.out.b = append(c.out.b, p.text...)
	}
	return c.count(len(c.out.b) - before)
}

// count counts bytes that were queued. With c.mu held.
func (c *conn) count(n int) limit.Level {
	c.queued += n
	return c.memory.Add(n)
}

// discount counts bytes that are queued no more. With c.mu held.
func (c *conn) discount(n int) {
	c.queued -= n
	c.memory.Release(n)
}

// signal sees that somebody looks at the queue. With c.mu held.
func (c *conn) signal() {
	if c.link == nil {
		select {
		case c.wake <- struct{}{}:
		default: // it is on its way
		}
		return
	}
	if c.out != nil && !c.writing && !c.held {
		c.writing = true
		c.writers.Go(c.write)
	}
}

// hold leaves it to writeHeld to write what is queued from now on: on the reader's
// goroutine, which costs less than one of its own, and together. Nobody is to wait
// for the client in between.
func (c *conn) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = true
}

// writeHeld writes what was queued since hold, without waiting for the client.
func (c *conn) writeHeld() {
	c.mu.Lock()
	c.held = false
	write := c.link != nil && c.out != nil && !c.writing
	if write {
		c.writing = true
		c.writers.Add(1)
	}
	c.mu.Unlock()
	if write {
		a := attempts.Get().(*attempt)
		defer attempts.Put(a)
		c.writeNow(a)
	}
}

// frameQueue puts the answer to the handshake, if it is still to be sent, before
// what is queued, and turns that from a payload into frames. With c.mu held, when
// the link has just been set.
func (c *conn) frameQueue(answer []byte) {
	payload := c.out
	c.out = nil
	if len(answer) > 0 {
		c.out = buffers.Get().(*buffer)
		c.out.b = append(c.out.b, answer...)
		c.count(len(answer))
		c.signal()
	}
	if payload == nil {
		return
	}
	c.discount(len(payload.b))
	for text := range bytes.SplitSeq(payload.b, []byte{separator}) {
		c.append(textPacket(string(text)))
	}
	payload.release()
}

// dropQueue forgets what no writer has taken yet. With c.mu held.
func (c *conn) dropQueue() {
	if c.out != nil {
		c.discount(len(c.out.b))
		c.out.release()
		c.out = nil
	}
}

// writeOut writes b in pieces, each of which must get through in the time that
// write allows it, and accounts for them.
func (c *conn) writeOut(b []byte, write func([]byte) error) error {
	for len(b) > 0 {
		n := min(len(b), chunk)
		if err := write(b[:n]); err != nil {
			c.wrote(len(b)) // or is lost
			return err
		}
		b = b[n:]
		c.wrote(n)
	}
	return nil
}

func (c *conn) wrote(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.discount(n)
	if c.progress != nil {
		close(c.progress)
		c.progress = nil
	}
}

func (c *conn) pendingBytes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return c.unsent
	}
	return c.queued
}

func (c *conn) waitDrained(ctx context.Context, below int) error {
	for {
		c.mu.Lock()
		if c.ended || c.ctx.Err() != nil {
			c.mu.Unlock()
			return ErrClosed
		}
		if c.queued < max(below, 1) {
			c.mu.Unlock()
			return nil
		}
		if c.progress == nil {
			c.progress = make(chan struct{})
		}
		progress := c.progress
		c.mu.Unlock()
		select {
		case <-progress:
		case <-c.ctx.Done():
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
