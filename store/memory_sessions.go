package store

import (
	"context"
	"slices"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

type memorySession struct {
	bridge.Session
	ends time.Time
}

// saveSession keeps a session as its user's newest and evicts the user's oldest ones
// beyond the limit.
func (m *Memory) saveSession(pid string, s bridge.Session, now time.Time) {
	m.dropSession(pid) // it may have been another user's
	m.sessions[pid] = memorySession{s, now.Add(m.limits.SessionTTL)}
	u := m.user(s.User, now)
	u.sessions = append(u.sessions, pid)
	for len(u.sessions) > m.limits.MaxSessions {
		m.dropSession(u.sessions[0])
	}
}

// dropSession deletes a session, also from its user's list.
func (m *Memory) dropSession(pid string) {
	s, ok := m.sessions[pid]
	if !ok {
		return
	}
	delete(m.sessions, pid)
	if u := m.users[s.User]; u != nil {
		u.sessions = slices.DeleteFunc(u.sessions, func(id string) bool { return id == pid })
	}
}

// SaveSessions stores sessions.
func (n *MemoryNode) SaveSessions(ctx context.Context, sessions map[string]bridge.Session) error {
	return n.do(ctx, "save_sessions", func(m *Memory, now time.Time) error {
		for pid, s := range sessions {
			m.saveSession(pid, s, now)
		}
		return nil
	})
}

// Session returns [bridge.ErrNoSession] when the id is unknown or has lapsed.
func (n *MemoryNode) Session(ctx context.Context, pid string) (found bridge.Session, err error) {
	err = n.do(ctx, "session", func(m *Memory, now time.Time) error {
		s, ok := m.sessions[pid]
		if !ok || !now.Before(s.ends) {
			return bridge.ErrNoSession
		}
		found = s.Session
		return nil
	})
	return found, err
}

// DropSession deletes a session of the user.
func (n *MemoryNode) DropSession(ctx context.Context, user bridge.UserID, pid string) error {
	return n.do(ctx, "drop_session", func(m *Memory, _ time.Time) error {
		if m.sessions[pid].User == user {
			m.dropSession(pid)
		}
		return nil
	})
}
