package sio

import (
	"errors"
	"sync"
)

// errOverrun means that too much waits for the Handler.
var errOverrun = errors.New("too many calls are waiting")

// calls runs the calls to the Handler for one socket: one at a time, in order,
// each to its end before the next. Calls that come before [calls.open] wait.
// It has a goroutine only while there is something to run.
type calls struct {
	srv  *Server
	done chan struct{} // closed when the last call has returned

	mu      sync.Mutex // guards what follows
	queue   []call
	bytes   int // that the waiting calls hold
	opened  bool
	sealed  bool
	running bool
}

type call struct {
	run  func()
	size int // bytes it holds
}

// add queues a call made by the client. It fails with errOverrun when too much
// waits and with ErrClosed after seal.
func (q *calls) add(size int, run func()) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.sealed:
		return ErrClosed
	case len(q.queue) >= maxCalls || q.bytes+size > maxCallBytes(q.srv.cfg.MaxInbound):
		return errOverrun
	}
	q.push(call{run, size})
	return nil
}

// maxCallBytes is how many bytes of events may wait: a few of the largest.
func maxCallBytes(maxInbound int64) int { return 4 * int(maxInbound) }

// addOwn queues a call of our own making, which nobody can flood us with. After
// seal it is dropped.
func (q *calls) addOwn(run func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.sealed {
		q.push(call{run: run})
	}
}

// open lets the calls run, first before those that wait. It reports false, and
// runs nothing, when the queue was sealed before.
func (q *calls) open(first func()) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.sealed {
		return false
	}
	q.opened = true
	waiting := q.queue
	q.queue = nil
	q.push(call{run: first})
	q.queue = append(q.queue, waiting...)
	return true
}

// seal ends the queue, once: what waits still runs, then last, and nothing after
// it. A queue that was never opened runs nothing; seal then reports false.
func (q *calls) seal(last func()) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sealed = true
	if !q.opened {
		q.queue = nil
		close(q.done)
		return false
	}
	q.push(call{run: last})
	return true
}

// push appends a call and sees that it is run. With q.mu held.
func (q *calls) push(c call) {
	q.queue = append(q.queue, c)
	q.bytes += c.size
	if q.opened && !q.running {
		q.running = true
		q.srv.work.Go(q.run)
	}
}

func (q *calls) run() {
	roomy()
	for {
		c, ok := q.next()
		if !ok {
			return
		}
		q.srv.guard(c.run)
	}
}

// next takes the first call off the queue. Without one the runner ends.
func (q *calls) next() (call, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queue) == 0 {
		q.running, q.queue = false, nil
		if q.sealed {
			close(q.done)
		}
		return call{}, false
	}
	c := q.queue[0]
	q.queue[0] = call{}
	q.queue = q.queue[1:]
	q.bytes -= c.size
	return c, true
}
