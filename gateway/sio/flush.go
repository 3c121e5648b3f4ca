package sio

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// dirty are the connections that the next [Server.Flush] is to write. Each is in it once.
type dirty struct {
	mu    sync.Mutex // guards what follows; taken inside conn.mu
	conns []*conn
	spare []*conn // empty: the memory of an earlier round
}

func (d *dirty) add(c *conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conns = append(d.conns, c)
}

func (d *dirty) take() []*conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	conns := d.conns
	d.conns, d.spare = d.spare, nil
	return conns
}

// reuse takes back the memory of a round.
func (d *dirty) reuse(conns []*conn) {
	clear(conns)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.spare = conns[:0]
}

// share is how many connections are worth a goroutine more: a write takes some ten
// microseconds, waking another processor may take several times as much.
const share = 32

// Flush writes what was queued by [Socket.Queue], all that one client is to get in
// one system call. It never waits for a client: what one cannot take at once is
// left to a goroutine of its own. Safe for concurrent use.
func (s *Server) Flush() {
	conns := s.dirty.take()
	if len(conns) == 0 {
		return
	}
	var next atomic.Int64
	work := func() {
		a := attempts.Get().(*attempt)
		defer attempts.Put(a)
		for i := next.Add(1); i <= int64(len(conns)); i = next.Add(1) {
			conns[i-1].writeNow(a)
		}
	}
	var helpers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(conns)/share) - 1 {
		helpers.Go(work)
	}
	work()
	helpers.Wait()
	s.dirty.reuse(conns)
}

// leaveToFlush sees that the next Flush writes what is queued. With c.mu held.
func (c *conn) leaveToFlush() {
	if c.link == nil {
		c.signal()
	} else if !c.writing {
		c.writing = true
		c.writers.Add(1)
		c.srv.dirty.add(c)
	}
}

// writeNow writes what waits, as far as the system takes it without waiting. It is
// one of c.writers until it returns, or whom it leaves the rest to.
func (c *conn) writeNow(a *attempt) {
	for {
		out, l := c.takeOut()
		if out == nil {
			c.writers.Done()
			return
		}
		n, err := l.attempt(a, out.b)
		c.wrote(n)
		if err == nil && n < len(out.b) {
			go func() {
				defer c.writers.Done()
				c.writeWaiting(l, out, n)
				c.write()
			}()
			return
		}
		c.wrote(len(out.b) - n) // or is lost
		out.release()
		if err != nil {
			c.end(writeReason(err), abort)
		}
	}
}
