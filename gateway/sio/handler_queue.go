package sio

import (
	"errors"
	"slices"
	"sync"

	"github.com/codewar/socketbridge/gateway/limit"
)

// errOverrun means that too many calls wait for the Handler.
var errOverrun = errors.New("too many calls are waiting")

// handlerQueue runs the calls of the Handler for one socket in order, one at a time. Calls
// that are added before [handlerQueue.open] wait. The queue has a goroutine only while it has
// calls to run.
type handlerQueue struct {
	srv    *Server
	memory *limit.Account
	done   chan struct{} // closed when the last call has returned

	mu      sync.Mutex // guards what follows
	waiting []call
	opened  bool
	sealed  bool
	running bool
}

type call struct {
	run  func()
	size int // bytes it holds; 0: a call of the server's own
}

// add queues a call for a packet of the client. It fails with errOverrun when too many wait,
// and with ErrClosed after seal. The caller has counted its size; the queue releases that when
// the call has run or is discarded.
func (q *handlerQueue) add(size int, run func()) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.sealed:
		return ErrClosed
	case len(q.waiting) >= maxCalls:
		return errOverrun
	}
	q.push(call{run, size})
	return nil
}

// addOwn queues a call of the server's own, whose number no client controls. After seal it is
// ignored.
func (q *handlerQueue) addOwn(run func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.sealed {
		q.push(call{run: run})
	}
}

// open runs first, then the calls that wait. After seal it does nothing and reports false.
func (q *handlerQueue) open(first func()) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.sealed {
		return false
	}
	q.opened = true
	q.waiting = slices.Insert(q.waiting, 0, call{run: first})
	q.start()
	return true
}

// seal is called once. The calls that wait still run, then last, and no call after it. A queue
// that was never opened runs nothing; seal then reports false.
func (q *handlerQueue) seal(last func()) bool {
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

// discard drops the client's calls that wait.
func (q *handlerQueue) discard() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.drop()
}

// drop drops the client's calls that wait. With q.mu held.
func (q *handlerQueue) drop() {
	q.waiting = slices.DeleteFunc(q.waiting, func(c call) bool {
		q.memory.Release(c.size)
		return c.size > 0
	})
}

// push appends a call. With q.mu held.
func (q *handlerQueue) push(c call) {
	q.waiting = append(q.waiting, c)
	q.start()
}

// start runs the calls that wait, once the queue is open. With q.mu held.
func (q *handlerQueue) start() {
	if q.opened && !q.running {
		q.running = true
		q.srv.work.Go(q.run)
	}
}

func (q *handlerQueue) run() {
	for {
		c, ok := q.next()
		if !ok {
			return
		}
		q.srv.guard(c.run)
		q.memory.Release(c.size)
	}
}

// next removes the first call. Without one the goroutine ends.
func (q *handlerQueue) next() (call, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		q.running, q.waiting = false, nil
		if q.sealed {
			close(q.done)
		}
		return call{}, false
	}
	c := q.waiting[0]
	q.waiting[0] = call{}
	q.waiting = q.waiting[1:]
	return c, true
}
