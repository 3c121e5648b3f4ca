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

// buffer holds what waits for a writer. A connection has one only while something waits.
type buffer struct{ b []byte }

var buffers = sync.Pool{New: func() any { return &buffer{make([]byte, 0, minBuffer)} }}

// Write appends. It never fails.
func (b *buffer) Write(p []byte) (int, error) {
	b.b = append(b.b, p...)
	return len(p), nil
}

func (b *buffer) release() {
	if cap(b.b) > chunk || cap(b.b) < minBuffer {
		return // neither the buffer of a burst nor the rest of one that splitPayload has cut
	}
	b.b = b.b[:0]
	buffers.Put(b)
}

// push queues a packet for the client and starts writing it. It never waits.
func (c *conn) push(p *Packet) error { return c.put(nil, p, c.signal) }

// put queues a packet of s, or of the connection itself when s is nil. It calls schedule, with
// c.mu held, to have it written.
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

// append queues a packet without a check of bounds and starts writing it. With c.mu held.
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

// signal starts a writer or wakes the GET, unless one is active. With c.mu held.
func (c *conn) signal() {
	if c.link == nil {
		select {
		case c.wake <- struct{}{}:
		default: // it was woken already
		}
		return
	}
	if c.out != nil && !c.writing && !c.held {
		c.writing = true
		c.writers.Go(c.write)
	}
}

// hold leaves what is queued from now on to writeHeld, which writes it in one call, and on the
// reader's goroutine, which costs less than a goroutine of its own. Until then the caller must
// not wait for the client.
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
		c.writeNow()
	}
}

// frameQueue converts what is queued from a payload to frames, with the answer to the handshake
// before them if that was not sent. With c.mu held, when the link has just been set.
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

// dropQueue discards what no writer has taken. With c.mu held.
func (c *conn) dropQueue() {
	if c.out != nil {
		c.discount(len(c.out.b))
		c.out.release()
		c.out = nil
	}
}

// writeOut writes b in chunks, each with its own deadline, and counts what is written.
func (c *conn) writeOut(b []byte, write func([]byte) error) error {
	for len(b) > 0 {
		n := min(len(b), chunk)
		if err := write(b[:n]); err != nil {
			c.wrote(len(b)) // discarded
			return err
		}
		b = b[n:]
		c.wrote(n)
	}
	return nil
}

// wrote counts bytes that were written or discarded.
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
