package store

import (
	"context"
	"slices"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// Renew writes registrations again where they are not.
func (n *MemoryNode) Renew(ctx context.Context, renewals []bridge.Renewal) (lost []bool, err error) {
	err = n.do(ctx, "renew", func(m *Memory, now time.Time) error {
		if n.join == 0 {
			return errNotJoined
		}
		lost = make([]bool, len(renewals))
		for i, r := range renewals {
			lost[i] = n.renew(m, r, now)
		}
		return nil
	})
	return lost, err
}

// renew reports whether the registration was not there. A later one of the same socket id stays.
func (n *MemoryNode) renew(m *Memory, r bridge.Renewal, now time.Time) (lost bool) {
	u, since := m.user(r.User, now), now.Add(-r.Age)
	if i := slices.IndexFunc(u.sockets, func(s memorySocket) bool { return s.Socket == r.Socket }); i >= 0 {
		s := u.sockets[i]
		switch own := s.Node == n.id && s.token == r.Token; {
		case own && s.join == n.join:
			return false
		case own:
			since = s.Since
		case s.Since.After(since):
			return false
		}
		u.sockets = slices.Delete(u.sockets, i, i+1)
	}
	u.sockets = append(u.sockets, memorySocket{
		Presence: bridge.Presence{Socket: r.Socket, Node: n.id, Since: since},
		join:     n.join,
		token:    r.Token,
	})
	slices.SortStableFunc(u.sockets, func(a, b memorySocket) int { return a.Since.Compare(b.Since) })
	return true
}
