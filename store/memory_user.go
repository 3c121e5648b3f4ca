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
