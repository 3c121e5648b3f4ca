package sio

import (
	"errors"
	"slices"
	"sync"

	"github.com/codewar/socketbridge/gateway/limit"
)

// errOverrun means that too much waits for the Handler.
var errOverrun = errors.New("too many calls are waiting")

// calls runs the calls to the Handler for one socket: one at a time, in order,
// each to its end before the next. Calls that come before [calls.open] wait.
// It has a goroutine only while there is something to run.
type calls struct {
	srv    *Server
	memory *limit.Account
	done   chan struct{} // closed when the last call has returned

	mu      sync.Mutex // guards what follows
	queue   []call
	opened  bool
	sealed  bool
	running bool
}

type call struct {
	run  func()
	size int // bytes it holds
}

// add queues a call made by the client. It fails with errOverrun when too many
// wait and with ErrClosed after seal. What the call holds, which its caller has counted, is
// released when it has run or is discarded.
func (q *calls) add(size int, run func()) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.sealed:
		return ErrClosed
	case len(q.queue) >= maxCalls:
		return errOverrun
	}
	q.push(call{run, size})
	return nil
}

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
		q.drop()
		close(q.done)
		return false
	}
	q.push(call{run: last})
	return true
}

// discard forgets the calls made by the client that still wait.
func (q *calls) discard() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.drop()
}

// drop forgets the calls that hold something: those of the client. With q.mu held.
func (q *calls) drop() {
	q.queue = slices.DeleteFunc(q.queue, func(c call) bool {
		q.memory.Release(c.size)
		return c.size > 0
	})
}

// push appends a call and sees that it is run. With q.mu held.
func (q *calls) push(c call) {
	q.queue = append(q.queue, c)
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
		q.memory.Release(c.size)
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
	return c, true
}
