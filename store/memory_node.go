package store

import (
	"context"
	"slices"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// Append appends each entry and looks its user's sockets up.
func (n *MemoryNode) Append(ctx context.Context, entries []bridge.Entry) (out []bridge.Appended, err error) {
	err = n.do(ctx, "append", func(m *Memory, now time.Time) error {
		out = make([]bridge.Appended, len(entries))
		for i, e := range entries {
			out[i] = m.append(e, now)
		}
		return nil
	})
	return out, err
}

func (m *Memory) append(e bridge.Entry, now time.Time) bridge.Appended {
	u := m.user(e.User, now)
	a := bridge.Appended{Sockets: m.sockets(u, now)}
	switch {
	case e.OnlyIfPresent && len(a.Sockets) == 0:
		a.Absent = true
	case !e.Offset.After(u.last):
		a.Refused = true
		if at, found := u.find(e.Offset); found {
			a.Before = u.history[at].before
		}
	case !e.Offset.After(u.top): // withdrawn before
		a.Refused, a.Absent = !e.OnlyIfPresent, e.OnlyIfPresent
	default:
		a.Before = u.last
		u.add(e.Envelope, now, m.limits)
	}
	return a
}

// Withdraw removes an entry that no socket took: see [Redis.Withdraw].
func (n *MemoryNode) Withdraw(ctx context.Context, user bridge.UserID, at bridge.Offset) (gone bool, err error) {
	err = n.do(ctx, "withdraw", func(m *Memory, now time.Time) error {
		gone = m.user(user, now).withdraw(at)
		return nil
	})
	return gone, err
}

// Read returns the next messages of a user after an offset.
func (n *MemoryNode) Read(ctx context.Context, user bridge.UserID, after bridge.Offset, limit int) (page bridge.Replay, err error) {
	err = n.do(ctx, "read", func(m *Memory, now time.Time) error {
		page = m.user(user, now).page(&after, limit)
		return nil
	})
	return page, err
}

// Register records a socket and reads what it missed.
func (n *MemoryNode) Register(ctx context.Context, r bridge.Registration) (page bridge.Replay, err error) {
	err = n.do(ctx, "register", func(m *Memory, now time.Time) error {
		if n.join == 0 {
			return errNotJoined
		}
		u := m.user(r.User, now)
		var replaced bridge.Replaced
		u.sockets = slices.DeleteFunc(u.sockets, func(s memorySocket) bool {
			if s.Socket == r.Socket && s.Node != n.id {
				replaced = bridge.Replaced{Node: s.Node, User: r.User, Socket: r.Socket, Token: s.token}
			}
			return s.Socket == r.Socket
		})
		u.sockets = append(u.sockets, memorySocket{
			Presence: bridge.Presence{Socket: r.Socket, Node: n.id, Since: now},
			join:     n.join,
			token:    r.Token,
		})
		if r.PID != "" {
			m.saveSession(r.PID, r.Session(), now)
		}
		u.seen = u.last
		page = u.page(r.After, r.Limit)
		page.Sockets, page.Replaced = len(u.sockets), replaced
		return nil
	})
	return page, err
}

// Unregister removes this registration and records what the socket was given.
func (n *MemoryNode) Unregister(ctx context.Context, r bridge.Registration, given bridge.Delivered) error {
	return n.do(ctx, "unregister", func(m *Memory, now time.Time) error {
		u := m.user(r.User, now)
		u.sockets = slices.DeleteFunc(u.sockets, func(s memorySocket) bool {
			return s.Socket == r.Socket && s.Node == n.id && s.token == r.Token
		})
		u.take(given, now.Add(m.limits.marksTTL()))
		return nil
	})
}

// Locate returns the user's sockets on live nodes, oldest first.
func (n *MemoryNode) Locate(ctx context.Context, user bridge.UserID) (found []bridge.Presence, err error) {
	err = n.do(ctx, "locate", func(m *Memory, now time.Time) error {
		if u := m.users[user]; u != nil {
			found = m.sockets(u, now)
		}
		lost := n.canary != 0 && m.canaries[n.id] != n.canary
		if len(found) == 0 && (lost || now.Sub(n.wentBack) < unsettledFor) {
			return errUnsettled
		}
		return nil
	})
	return found, err
}

// Taken moves the delivered offsets of many users.
func (n *MemoryNode) Taken(ctx context.Context, given []bridge.Delivered) error {
	return n.do(ctx, "taken", func(m *Memory, now time.Time) error {
		for _, d := range given {
			if !d.IsZero() {
				m.user(d.User, now).take(d, now.Add(m.limits.marksTTL()))
			}
		}
		return nil
	})
}

// Marks returns the user's marks.
func (n *MemoryNode) Marks(ctx context.Context, user bridge.UserID) (taken, last bridge.Offset, err error) {
	err = n.do(ctx, "marks", func(m *Memory, now time.Time) error {
		if u := m.users[user]; u != nil {
			u.expire(now)
			taken, last = u.taken, u.last
		}
		return nil
	})
	return taken, last, err
}

// Beat renews this node's lease, or joins.
func (n *MemoryNode) Beat(ctx context.Context) (rejoined bool, err error) {
	err = n.do(ctx, "beat", func(m *Memory, now time.Time) error {
		if n.join == 0 || !m.lives(n.id, n.join, now) {
			m.joins++
			n.join = m.joins
			rejoined = true
		}
		m.nodes[n.id] = &memoryLease{n.join, now.Add(m.limits.NodeLease)}
		return nil
	})
	return rejoined, err
}

// WentBack reports whether the memory lacks the number that this node left in it. Only a test
// puts a memory back.
func (n *MemoryNode) WentBack(ctx context.Context) (parts int, err error) {
	err = n.do(ctx, "went_back", func(m *Memory, now time.Time) error {
		if n.canary != 0 && m.canaries[n.id] != n.canary {
			parts, n.wentBack = 1, now
		}
		n.canary++
		m.canaries[n.id] = n.canary
		return nil
	})
	return parts, err
}

// Leave ends this node's lease; a later Beat joins again.
func (n *MemoryNode) Leave(ctx context.Context) error {
	return n.do(ctx, "leave", func(m *Memory, now time.Time) error {
		if m.lives(n.id, n.join, now) {
			delete(m.nodes, n.id)
		}
		n.join = 0
		return nil
	})
}

// Nodes lists the nodes whose lease lives, by name.
func (n *MemoryNode) Nodes(ctx context.Context) (nodes []bridge.NodeID, err error) {
	err = n.do(ctx, "nodes", func(m *Memory, now time.Time) error {
		for id, lease := range m.nodes {
			if now.Before(lease.ends) {
				nodes = append(nodes, id)
			}
		}
		slices.Sort(nodes)
		return nil
	})
	return nodes, err
}

// Claim makes term the one that may write the checkpoint.
func (n *MemoryNode) Claim(ctx context.Context, term uint64) error {
	return n.do(ctx, "claim", func(m *Memory, _ time.Time) error {
		if term < m.term {
			return bridge.ErrNotLeader
		}
		m.term = term
		return nil
	})
}

// Checkpoint returns the greatest term claimed and how far the stream was read.
func (n *MemoryNode) Checkpoint(ctx context.Context) (term uint64, o bridge.Offset, err error) {
	err = n.do(ctx, "checkpoint", func(m *Memory, _ time.Time) error {
		term, o = m.term, m.read
		return nil
	})
	return term, o, err
}

// SaveCheckpoint records how far the stream was read, if the term is the last one claimed.
func (n *MemoryNode) SaveCheckpoint(ctx context.Context, term uint64, o bridge.Offset) error {
	return n.do(ctx, "save_checkpoint", func(m *Memory, _ time.Time) error {
		if m.term != term {
			return bridge.ErrNotLeader
		}
		m.read = m.read.Max(o)
		return nil
	})
}
