package hub

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

const (
	// offsetFlushEvery is how often the store is told how far users have received. A
	// node that is killed may let a fresh page see that much again.
	offsetFlushEvery = 200 * time.Millisecond
	// offsetFlushSlots is in how many turns the shards are recorded meanwhile: the store
	// serves nobody else during a turn.
	offsetFlushSlots = 8
	// offsetFlushMax is how many sockets of a shard are recorded in its turn, 5,000 a second
	// in all; the others wait for the next. Recording costs the store half of
	// what a message costs it, and with many users nearly each message would pay it.
	offsetFlushMax = 16
)

// moved are the sockets of a shard that have received what the store does not
// know of. A socket enters with its first message after it was recorded, so those
// that receive nothing cost nothing.
type dirtySockets struct {
	mu   sync.Mutex // taken with a socket's lock held; no other is taken inside
	list []*socket
}

func (d *dirtySockets) add(s *socket) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list = append(d.list, s)
}

// take takes the first ones out, at most n.
func (d *dirtySockets) take(n int) []*socket {
	d.mu.Lock()
	defer d.mu.Unlock()
	n = min(n, len(d.list))
	first := d.list[:n:n]
	if d.list = d.list[n:]; len(d.list) == 0 {
		d.list = nil
	}
	return first
}

// note has the store told of the socket's last offset. With s.mu held.
func (s *socket) markDirty() {
	if !s.dirty && s.dirtyList != nil {
		s.dirty = true
		s.dirtyList.add(s)
	}
}

// remarkDirty notes what could not be recorded.
func (s *socket) remarkDirty() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.markDirty()
}

// progress returns what the socket was given, which the caller records. It is false
// when the socket has left, or has moved to another user since it was noted.
func (s *socket) progress() (given bridge.Delivered, noted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	noted = s.dirty && s.user != ""
	s.dirty = false
	return s.given(), noted
}

// flushOffsets tells the store how far the users of some shards have received, at
// most so many sockets of each. What it does not take is tried again in a later turn.
func (h *Hub) flushOffsets(ctx context.Context, shards []shard, most int) {
	var sockets []*socket
	for i := range shards {
		sockets = append(sockets, shards[i].dirty.take(most)...)
	}
	if len(sockets) == 0 {
		return
	}
	given := make([]bridge.Delivered, 0, len(sockets))
	of := make(map[bridge.UserID]int, len(sockets)) // the newest in given
	progress := make(map[string]bridge.Session)
	for _, s := range sockets {
		d, noted := s.progress()
		if !noted {
			continue
		}
		if pid, session := s.progressSession(); pid != "" {
			progress[pid] = session
			if d.To.After(session.Given) {
				s.remarkDirty() // it is not written yet
			}
		}
		if i, more := of[d.User]; more {
			if joined, ok := given[i].Join(d); ok {
				given[i] = joined
				continue
			}
		}
		of[d.User] = len(given)
		given = append(given, d)
	}
	if len(given) == 0 {
		return
	}
	h.saveProgress(ctx, progress)
	if err := h.store.Taken(ctx, given); err != nil {
		h.log.LogAttrs(ctx, slog.LevelDebug, "progress not recorded", slog.Any("err", err))
		for _, s := range sockets {
			s.remarkDirty()
		}
	}
}
