package sio

import "sync"

// flushList holds the connections that the next [Server.Flush] writes, each once.
type flushList struct {
	mu    sync.Mutex // guards conns; taken inside conn.mu
	conns []*conn
}

func (l *flushList) add(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns = append(l.conns, c)
}

func (l *flushList) take() []*conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	conns := l.conns
	l.conns = nil
	return conns
}

// Flush writes what [Socket.Queue] has queued, for each client in one system call. It never
// waits for a client: a goroutine of its own writes what a client cannot take at once. Safe
// for concurrent use.
//
// Figure: at 2,000 messages a second p99 fell from 5 to 7 ms to 3.5 to 5.6 ms, together with two
// other changes (docs/bench/results.md). BenchmarkQueue measures it alone.
func (s *Server) Flush() {
	for _, c := range s.flushList.take() {
		c.writeNow()
	}
}

// leaveToFlush leaves what is queued to the next Flush. With c.mu held.
func (c *conn) leaveToFlush() {
	if c.link == nil {
		c.signal()
	} else if !c.writing {
		c.writing = true
		c.writers.Add(1)
		c.srv.flushList.add(c)
	}
}

// writeNow writes what is queued, as far as the system takes it without waiting, and leaves
// the rest to a goroutine. The caller has added to c.writers.
func (c *conn) writeNow() {
	for {
		out, l := c.takeOut()
		if out == nil {
			c.writers.Done()
			return
		}
		n, err := l.tryWrite(out.b)
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
