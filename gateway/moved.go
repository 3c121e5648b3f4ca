package gateway

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

const (
	// takenEvery is how often the store is told how far users have received. A
	// node that is killed may let a fresh page see that much again.
	takenEvery = 200 * time.Millisecond
	// takenTurns is in how many turns the shards are recorded meanwhile: the store
	// serves nobody else during a turn.
	takenTurns = 8
	// takenMost is how many sockets of a shard are recorded in its turn, 5,000 a second
	// in all; the others wait for the next. Recording costs the store half of
	// what a message costs it, and with many users nearly each message would pay it.
	takenMost = 16
)

// moved are the sockets of a shard that have received what the store does not
// know of. A socket enters with its first message after it was recorded, so those
// that receive nothing cost nothing.
type moved struct {
	mu   sync.Mutex // taken with a socket's lock held; no other is taken inside
	list []*socket
}

func (m *moved) add(s *socket) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = append(m.list, s)
}

// take takes the first ones out, at most n.
func (m *moved) take(n int) []*socket {
	m.mu.Lock()
	defer m.mu.Unlock()
	n = min(n, len(m.list))
	first := m.list[:n:n]
	if m.list = m.list[n:]; len(m.list) == 0 {
		m.list = nil
	}
	return first
}

// note has the store told of the socket's last offset. With s.mu held.
func (s *socket) note() {
	if !s.noted && s.moved != nil {
		s.noted = true
		s.moved.add(s)
	}
}

// noteAgain notes what could not be recorded.
func (s *socket) noteAgain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note()
}

// progress returns what the socket was given, which the caller records. It is false
// when the socket has left, or has moved to another user since it was noted.
func (s *socket) progress() (given bridge.Delivered, noted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	noted = s.noted && s.user != ""
	s.noted = false
	return s.given(), noted
}

// recordTaken tells the store how far the users of some shards have received, at
// most so many sockets of each. What it does not take is tried again in a later turn.
func (h *Hub) recordTaken(ctx context.Context, shards []shard, most int) {
	var sockets []*socket
	for i := range shards {
		sockets = append(sockets, shards[i].moved.take(most)...)
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
				s.noteAgain() // it is not written yet
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
			s.noteAgain()
		}
	}
}
