package store

import (
	"context"
	"slices"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// Register records a socket.
func (n *MemoryNode) Register(ctx context.Context, r bridge.Registration) (done bridge.Registered, err error) {
	err = n.do(ctx, "register", func(m *Memory, now time.Time) error {
		if n.join == 0 {
			return errNotJoined
		}
		u := m.user(r.User, now)
		u.sockets = slices.DeleteFunc(u.sockets, func(s memorySocket) bool {
			if s.Socket == r.Socket && s.Node != n.id {
				done.Replaced = bridge.Replaced{Node: s.Node, User: r.User, Socket: r.Socket, Token: s.token}
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
		done.Delivered, done.Sockets = u.delivered, len(u.sockets)
		return nil
	})
	return done, err
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

// Locate returns the users' sockets on live nodes, oldest first.
func (n *MemoryNode) Locate(ctx context.Context, users []bridge.UserID) []bridge.Located {
	found := make([]bridge.Located, len(users))
	err := n.do(ctx, "locate", func(m *Memory, now time.Time) error {
		lost := n.canary != 0 && m.canaries[n.id] != n.canary
		unsettled := lost || now.Sub(n.wentBack) < unsettledFor
		for i, user := range users {
			if u := m.users[user]; u != nil {
				found[i].Sockets = m.sockets(u, now)
			}
			if unsettled && len(found[i].Sockets) == 0 {
				found[i].Err = errUnsettled
			}
		}
		return nil
	})
	if err != nil {
		for i := range found {
			found[i].Err = err
		}
	}
	return found
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

// Delivered returns how far the user's sockets have received.
func (n *MemoryNode) Delivered(ctx context.Context, user bridge.UserID) (o bridge.Offset, err error) {
	err = n.do(ctx, "delivered", func(m *Memory, now time.Time) error {
		if u := m.users[user]; u != nil {
			u.expire(now)
			o = u.delivered
		}
		return nil
	})
	return o, err
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

// Serving says whether this node serves, and lists the nodes that do, by name.
func (n *MemoryNode) Serving(ctx context.Context, serves bool) (nodes []bridge.NodeID, err error) {
	err = n.do(ctx, "serving", func(m *Memory, now time.Time) error {
		delete(m.serving, n.id)
		if serves {
			m.serving[n.id] = now.Add(servingFor)
		}
		for id, until := range m.serving {
			if now.Before(until) {
				nodes = append(nodes, id)
			}
		}
		slices.Sort(nodes)
		return nil
	})
	return nodes, err
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
