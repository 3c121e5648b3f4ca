package hub

import (
	"math"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/codewar/socketbridge/gateway/auth"
)

// expiringEvent tells a client that its token is about to expire, so that it can emit
// `refreshToken`.
const expiringEvent = "auth:expiring"

// ReasonExpired is why a socket was closed, beside the reasons of package sio.
const ReasonExpired = "token expired"

// expiring is what expiries need of a [sio.Socket]. Its methods do not wait.
type expiring interface {
	Emit(event string, args ...any) error
	Close(reason string)
}

// expiries warn clients whose token is about to expire and close those whose token has expired.
// Safe for concurrent use.
type expiries struct {
	warnBefore time.Duration
	ended      prometheus.Counter // sockets closed

	// mu guards the identities and closed. It is held while a client is warned or closed, so that
	// a client that has just renewed its token is not closed. Taken before a connection's lock.
	mu     sync.Mutex
	closed bool
}

// set sets until when an identity is valid, also when it was set before.
func (x *expiries) set(who *identity, expires time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return
	}
	left := time.Until(expires)
	who.expires = expires
	// A token with a short life is not warned about at once: a client that renews its token on
	// each warning would do nothing else.
	x.schedule(who, expires.Add(-min(x.warnBefore, left/2)))
}

// schedule has expire called at that time. With x.mu held.
func (x *expiries) schedule(who *identity, due time.Time) {
	who.due = due
	if who.timer == nil {
		who.timer = time.AfterFunc(time.Until(due), func() { x.expire(who) })
	} else {
		who.timer.Reset(time.Until(due))
	}
}

// drop forgets an identity. Nothing happens when it is not known.
func (x *expiries) drop(who *identity) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.stop(who)
}

// stop is called with x.mu held.
func (x *expiries) stop(who *identity) {
	if who.timer != nil {
		who.timer.Stop()
		who.timer = nil
	}
}

// close ends all warnings and closings.
func (x *expiries) close() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = true
}

// expire warns a client, or closes it. Closing, unlike disconnecting, makes the stock client
// reconnect: with a fresh token when its `auth` is a function; otherwise it is refused and stays
// away.
func (x *expiries) expire(who *identity) {
	x.mu.Lock()
	defer x.mu.Unlock()
	now := time.Now()
	if x.closed || who.timer == nil || now.Before(who.due) { // stopped, or set anew meanwhile
		return
	}
	if now.Before(who.expires) {
		x.schedule(who, who.expires)
		_ = who.client.Emit(expiringEvent, map[string]any{ // a closed client needs none
			"in": int(math.Ceil(who.expires.Sub(now).Seconds())),
			"at": who.expires.UTC().Format(time.RFC3339),
		})
		return
	}
	x.stop(who)
	x.ended.Inc()
	_ = who.client.Emit("error", clientError{auth.CodeExpired, "The token has expired", map[string]any{"action": "authenticate"}}) // a closed client needs none
	who.client.Close(ReasonExpired)
}
