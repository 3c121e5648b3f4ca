package hub

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

const (
	// offsetFlushEvery is how often the delivered offsets are recorded in the store. After a node
	// was killed, a new client may see the messages of that time again.
	offsetFlushEvery = 200 * time.Millisecond
	// offsetFlushSlots is in how many parts the shards are recorded in that time: the store serves
	// no other call during a part.
	offsetFlushSlots = 8
	// offsetFlushMax is how many sockets of a shard are recorded at a time, 5,000 a second in all;
	// the others wait. Recording costs the store half of what a message costs it, and with many
	// users nearly each message would pay it.
	offsetFlushMax = 16
)

// dirtySockets are the sockets of a shard whose delivered offset the store does not know yet. A
// socket enters with its first message after it was recorded, so idle sockets cost nothing.
type dirtySockets struct {
	mu   sync.Mutex // taken with a socket's lock held; no other is taken inside
	list []*socket
}

func (d *dirtySockets) add(s *socket) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list = append(d.list, s)
}

// take removes and returns the first sockets, at most n.
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

// markDirty has the socket's offset recorded. With s.mu held.
func (s *socket) markDirty() {
	if !s.dirty && s.dirtyList != nil {
		s.dirty = true
		s.dirtyList.add(s)
	}
}

// remarkDirty does so after recording has failed.
func (s *socket) remarkDirty() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.markDirty()
}

// progress returns what the socket was given, for the caller to record. It is false when the
// socket has left, or has another user since it was marked.
func (s *socket) progress() (given bridge.Delivered, dirty bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dirty = s.dirty && s.user != ""
	s.dirty = false
	return s.given(), dirty
}

// flushOffsets records the delivered offsets of the users of some shards, at most so many sockets
// of each. A failure is retried later.
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
		d, dirty := s.progress()
		if !dirty {
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
