package hub

import (
	"sync/atomic"

	"github.com/codewar/socketbridge/gateway/sio"
)

// Stats counts what the hub has done, beside [Hub.Pushes].
type Stats struct {
	Binding int    // sockets that wait for their registration and their first batch
	Gaps    uint64 // sockets that were told HISTORY_GAP: messages they missed are gone
	Rejoins uint64 // times that every socket was registered again, the first time included
	Renewed uint64 // lost registrations that were made again
}

// Stats returns the figures at this moment.
func (h *Hub) Stats() Stats {
	return Stats{int(h.binding.Load()), h.gaps.Load(), h.rejoins.Load(), h.renewed.Load()}
}

// Joins counts the clients that connected, by their session.
type Joins struct {
	New     uint64 // without a session
	Resumed uint64 // with a session that was restored
	Unknown uint64 // with a session that was not restored
}

type joins struct{ fresh, resumed, unknown atomic.Uint64 }

func (j *joins) count(presented sio.Auth, recovered bool) {
	switch {
	case recovered:
		j.resumed.Add(1)
	case presented.PID != "":
		j.unknown.Add(1)
	default:
		j.fresh.Add(1)
	}
}

// Joins returns the counts at this moment.
func (ev *Handler) Joins() Joins {
	j := &ev.joins
	return Joins{j.fresh.Load(), j.resumed.Load(), j.unknown.Load()}
}
