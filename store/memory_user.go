package store

import (
	"slices"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// memoryUser is what Memory keeps of one user.
type memoryUser struct {
	sockets   []memorySocket // oldest first
	history   []memoryEntry  // in order
	bytes     int            // of the history
	histories *memoryHistories
	sessions  []string // private ids, the one saved last at the end

	historyEnds time.Time
	marksEnd    time.Time
	top         bridge.Offset // the last one ever appended to this history, withdrawn or not
	last        bridge.Offset // mark: the last one kept
	taken       bridge.Offset // mark: received by a socket
	seen        bridge.Offset // mark: may have been read by a registration
}

type memorySocket struct {
	bridge.Presence
	join  uint64 // the stay of the node that it belongs to
	token string
}

// expire drops what has lapsed.
func (u *memoryUser) expire(now time.Time) {
	if !u.historyEnds.IsZero() && !now.Before(u.historyEnds) {
		u.forget(0, len(u.history))
		u.history, u.top, u.historyEnds = nil, bridge.Offset{}, time.Time{}
	}
	if !u.marksEnd.IsZero() && !now.Before(u.marksEnd) {
		u.last, u.taken, u.seen, u.marksEnd = bridge.Offset{}, bridge.Offset{}, bridge.Offset{}, time.Time{}
	}
}

func (u *memoryUser) empty() bool {
	return len(u.sockets) == 0 && len(u.sessions) == 0 && u.historyEnds.IsZero() && u.marksEnd.IsZero()
}

// add appends an entry that was found to be newer than everything, and trims.
func (u *memoryUser) add(e *bridge.Envelope, now time.Time, limits Limits) {
	kept := *e // the caller's may be part of a whole batch
	u.keep(&kept)
	if excess := len(u.history) - limits.MaxPerUser; excess > 0 {
		u.forget(0, excess)
	}
	u.trim()
	u.top, u.last = e.Offset, e.Offset
	u.historyEnds, u.marksEnd = now.Add(limits.HistoryTTL), now.Add(limits.marksTTL())
}

// withdraw removes an entry and mends the chain around it.
func (u *memoryUser) withdraw(at bridge.Offset) (gone bool) {
	if !u.seen.IsZero() && !at.After(u.seen) {
		return false
	}
	i, found := u.find(at)
	if !found {
		return true
	}
	before := u.history[i].before
	u.forget(i, i+1)
	if i < len(u.history) {
		u.history[i].before = before
	} else {
		u.last = before
	}
	return true
}

func (u *memoryUser) find(at bridge.Offset) (int, bool) {
	return slices.BinarySearchFunc(u.history, at, func(e memoryEntry, at bridge.Offset) int { return e.Offset.Compare(at) })
}

// take moves the delivered offset, if it lies within the range.
func (u *memoryUser) take(d bridge.Delivered, ends time.Time) {
	if !d.From.After(u.taken) && d.To.After(u.taken) {
		u.taken, u.marksEnd = d.To, ends
	}
}

// page reads on after an offset; nil means the inbox, whose reader was promised
// nothing, so that there is no gap.
func (u *memoryUser) page(after *bridge.Offset, limit int) bridge.Replay {
	r := bridge.Replay{From: u.taken, Last: u.last}
	if after != nil {
		r.From = *after
	}
	i, found := u.find(r.From)
	if found {
		i++
	}
	rest := u.history[i:]
	before := u.last // what the next message would name as the one before it
	if len(rest) > 0 {
		before = rest[0].before
	}
	r.Before = before
	r.Gap = after != nil && before.After(r.From)
	n := min(len(rest), max(limit, 0))
	r.More = len(rest) > n
	for _, e := range rest[:n] {
		r.Entries = append(r.Entries, e.Envelope)
	}
	return r
}
