package store

import (
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// memoryUser is what Memory keeps of one user.
type memoryUser struct {
	sockets  []memorySocket // oldest first
	sessions []string       // private ids, the one saved last at the end

	delivered     bridge.Offset
	deliveredEnds time.Time // of its time to live; zero: there is none
}

type memorySocket struct {
	bridge.Presence
	join  uint64 // the stay of the node that it belongs to
	token string
}

// expire drops what has lapsed.
func (u *memoryUser) expire(now time.Time) {
	if !u.deliveredEnds.IsZero() && !now.Before(u.deliveredEnds) {
		u.delivered, u.deliveredEnds = bridge.Offset{}, time.Time{}
	}
}

func (u *memoryUser) empty() bool {
	return len(u.sockets) == 0 && len(u.sessions) == 0 && u.deliveredEnds.IsZero()
}

// take moves the delivered offset, if it lies within the range.
func (u *memoryUser) take(d bridge.Delivered, ends time.Time) {
	if !d.From.After(u.delivered) && d.To.After(u.delivered) {
		u.delivered, u.deliveredEnds = d.To, ends
	}
}

// user returns the user's current state, and makes it if need be.
func (m *Memory) user(id bridge.UserID, now time.Time) *memoryUser {
	u := m.users[id]
	if u == nil {
		if len(m.users) >= m.mostUsers {
			m.forgetUser()
		}
		u = new(memoryUser)
		m.users[id] = u
	}
	u.expire(now)
	return u
}

// mostMemoryUsers is how many users a [Memory] remembers: some 100 MB. Of those without
// sockets and sessions it forgets some beyond that.
const mostMemoryUsers = 200_000

// forgetUser makes room for a user. It looks at a few only, so that a flood of names
// does not make each new one cost a walk through all.
func (m *Memory) forgetUser() {
	const few = 16
	looked := 0
	for id, u := range m.users {
		if len(u.sockets) == 0 && len(u.sessions) == 0 {
			delete(m.users, id)
			return
		}
		if looked++; looked == few {
			return
		}
	}
}
