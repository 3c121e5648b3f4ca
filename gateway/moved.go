package gateway

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

const (
	// takenEvery is how often the store is told how far users have received. A
	// node that is killed may let a fresh page see that much again.
	takenEvery = 200 * time.Millisecond
	// takenChunk is how many users go into one call of the store, so that it ends in time.
	takenChunk = 1000
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

func (m *moved) takeAll() []*socket {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := m.list
	m.list = nil
	return list
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

// progress returns the socket's user and last offset, which the caller records. It
// is false when the socket has left, or has moved to another user since it was noted.
func (s *socket) progress() (user bridge.UserID, last bridge.Offset, noted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	noted = s.noted && s.user != ""
	s.noted = false
	return s.user, s.last, noted
}

// recordTaken tells the store how far users have received. What it does not take
// is tried again the next time.
func (h *Hub) recordTaken(ctx context.Context) {
	var sockets []*socket
	for i := range h.shards {
		sockets = append(sockets, h.shards[i].moved.takeAll()...)
	}
	for chunk := range slices.Chunk(sockets, takenChunk) {
		marks := make(map[bridge.UserID]bridge.Offset, len(chunk))
		for _, s := range chunk {
			if user, last, noted := s.progress(); noted {
				marks[user] = marks[user].Max(last)
			}
		}
		if len(marks) == 0 {
			continue
		}
		if err := h.store.Taken(ctx, marks); err != nil {
			h.log.LogAttrs(ctx, slog.LevelDebug, "progress not recorded", slog.Any("err", err))
			for _, s := range chunk {
				s.noteAgain()
			}
		}
	}
}
