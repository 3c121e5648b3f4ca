package store

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// tails is what a leader knows by heart: where the histories end that it has
// appended to in its term. It reads every message in order, so its own last
// append to a user stays the user's last one; should another leader have been
// there first, Redis refuses what is not newer, and the script finds out.
//
// A new term forgets everything: what happened between two terms was not read.
type tails struct {
	term  atomic.Uint64 // of this node as the leader; zero when it has never led
	token chan struct{} // capacity 1: whoever holds it may use what follows

	of         uint64 // the term that these are of
	young, old map[bridge.UserID]*tail
	paper      paper
}

// tail is the end of one user's history.
type tail struct {
	keys userKeys
	last bridge.Offset // the last message appended
	text string        // last, spelled
	// fresh is until when the history's time to live needs no renewal.
	fresh time.Time
	// present says that the user had a socket when this was last appended to.
	present bool
	// each is how many messages its entries have held lately.
	each float64
}

// maxTails bounds what is remembered, at some 400 bytes each. Who is forgotten
// costs a script call with the next message.
const maxTails = 1 << 16

func newTails() tails {
	return tails{token: make(chan struct{}, 1), paper: paper{places: make(map[bridge.UserID]int)}}
}

// lock makes the caller the only one who appends. Unlike a mutex it gives up
// with the context.
func (t *tails) lock(ctx context.Context) error {
	select {
	case t.token <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("wait for the append before: %w", context.Cause(ctx))
	}
	if term := t.term.Load(); term != t.of {
		t.of, t.young, t.old = term, make(map[bridge.UserID]*tail), nil
	}
	return nil
}

func (t *tails) unlock() { <-t.token }

// find returns the user's tail, or nil.
func (t *tails) find(user bridge.UserID) *tail {
	if known := t.young[user]; known != nil {
		return known
	}
	known := t.old[user]
	if known != nil {
		t.remember(user, known)
	}
	return known
}

// remember keeps a tail. When there are too many, those go that nobody has asked
// for since as many others were.
func (t *tails) remember(user bridge.UserID, known *tail) {
	if t.of == 0 {
		return
	}
	if len(t.young) == maxTails/2 {
		t.old, t.young = t.young, make(map[bridge.UserID]*tail)
	}
	t.young[user] = known
}

// forget drops what turned out to be wrong.
func (t *tails) forget(user bridge.UserID) {
	delete(t.young, user)
	delete(t.old, user)
}

// newTail makes the tail of a user whose last message is known, zero when there is none.
func newTail(keys userKeys, last bridge.Offset) *tail {
	return &tail{keys: keys, last: last, text: last.String(), each: 1}
}

// grow notes that an entry of n messages is appended, and returns how many
// entries hold about that many messages.
func (t *tail) grow(n, messages int) (entries int) {
	const weight = 1. / 16
	t.each += (float64(n) - t.each) * weight
	return max(1, int(float64(messages)/t.each))
}
