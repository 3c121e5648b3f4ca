package hub

import (
	"container/heap"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/codewar/socketbridge/gateway/auth"
)

// expiringEvent tells a page that its token is about to expire, so that it can
// emit `refreshToken`.
const expiringEvent = "auth:expiring"

// ReasonExpired is why a socket was closed, beside the reasons of package sio.
const ReasonExpired = "token expired"

// expiring is what expiries need of a [sio.Socket]. None of it waits.
type expiring interface {
	Emit(event string, args ...any) error
	Close(reason string)
}

// expiries warn pages whose token is about to expire and close those whose token
// has. One timer serves all of them. Safe for concurrent use.
type expiries struct {
	warnBefore time.Duration
	ended      atomic.Uint64 // sockets closed

	// mu guards what follows, and is held while a page is told, so that one that
	// has just renewed its token is not closed. Taken before a connection's lock.
	mu     sync.Mutex
	heap   identities
	timer  *time.Timer
	closed bool
}

// set says until when an identity is good, also when it was set before.
func (x *expiries) set(who *identity, expires time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return
	}
	now := time.Now()
	left := expires.Sub(now)
	who.expires = expires
	// A token that is short-lived altogether is not complained about at once, or a
	// page that renews it on each warning would do nothing else.
	who.due = expires.Add(-min(x.warnBefore, left/2))
	if who.index < 0 {
		heap.Push(&x.heap, who)
	} else {
		heap.Fix(&x.heap, who.index)
	}
	x.arm(now)
}

// drop forgets an identity. Nothing happens when it is not there.
func (x *expiries) drop(who *identity) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if who.index >= 0 {
		heap.Remove(&x.heap, who.index)
	}
}

// close stops the timer; nobody is told anything from then on.
func (x *expiries) close() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = true
	if x.timer != nil {
		x.timer.Stop()
	}
}

// arm sets the timer for the first that is due. With x.mu held.
func (x *expiries) arm(now time.Time) {
	if len(x.heap) == 0 {
		return // a timer that finds nothing to do does no harm
	}
	wait := x.heap[0].due.Sub(now)
	if x.timer == nil {
		x.timer = time.AfterFunc(wait, x.fire)
	} else {
		x.timer.Reset(wait)
	}
}

// fire tells everybody who is due.
func (x *expiries) fire() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return
	}
	now := time.Now()
	for len(x.heap) > 0 && !x.heap[0].due.After(now) {
		x.tell(x.heap[0], now)
	}
	x.arm(now)
}

// tell warns a page, or closes it. Closing, unlike disconnecting, has the stock
// client come back: with a fresh token when its `auth` is a function, else it is
// refused and stays away. With x.mu held; who leaves its place in the heap.
func (x *expiries) tell(who *identity, now time.Time) {
	if now.Before(who.expires) {
		who.due = who.expires
		heap.Fix(&x.heap, who.index)
		_ = who.page.Emit(expiringEvent, map[string]any{ // a closed page needs none
			"in": int(math.Ceil(who.expires.Sub(now).Seconds())),
			"at": who.expires.UTC().Format(time.RFC3339),
		})
		return
	}
	heap.Remove(&x.heap, who.index)
	x.ended.Add(1)
	_ = who.page.Emit("error", clientError{auth.CodeExpired, "The token has expired", map[string]any{"action": "authenticate"}}) // a closed page needs none
	who.page.Close(ReasonExpired)
}

// identities is a heap, the first due on top.
type identities []*identity

func (h identities) Len() int           { return len(h) }
func (h identities) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h identities) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *identities) Push(x any) {
	who := x.(*identity)
	who.index = len(*h)
	*h = append(*h, who)
}

func (h *identities) Pop() any {
	last := len(*h) - 1
	who := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	who.index = -1
	return who
}
