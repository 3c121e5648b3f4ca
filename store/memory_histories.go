package store

import (
	"container/list"
	"slices"

	"github.com/codewar/socketbridge/bridge"
)

// memoryEntryBytes is what an entry of a history takes beside its payload.
const memoryEntryBytes = 256

// memoryHistories bounds the bytes of all histories together. When there are too many,
// the oldest messages go first, whoever they are for; their users' pages are told
// [bridge.Replay.Gap] as with any message that is no longer kept.
type memoryHistories struct {
	most, perUser int // bytes

	bytes   int
	evicted uint64
	order   list.List // of *memoryUser, one for each entry; the oldest entry is in front
}

type memoryEntry struct {
	*bridge.Envelope
	before bridge.Offset // the user's last one when this was appended
	place  *list.Element // in memoryHistories.order
}

func (e memoryEntry) size() int { return len(e.Payload) + memoryEntryBytes }

// keep appends an entry to the user's history.
func (u *memoryUser) keep(e *bridge.Envelope) {
	h := u.histories
	entry := memoryEntry{Envelope: e, before: u.last, place: h.order.PushBack(u)}
	u.history = append(u.history, entry)
	u.bytes += entry.size()
	h.bytes += entry.size()
}

// forget removes the entries from i to j, without j.
func (u *memoryUser) forget(i, j int) {
	h := u.histories
	for _, e := range u.history[i:j] {
		h.order.Remove(e.place)
		u.bytes -= e.size()
		h.bytes -= e.size()
	}
	u.history = slices.Delete(u.history, i, j)
}

// trim evicts what is too much, of this user first. A user's newest message stays when
// it is larger than the user's share, and goes when it is larger than all there is.
func (u *memoryUser) trim() {
	h := u.histories
	for u.bytes > h.perUser && len(u.history) > 1 {
		u.forget(0, 1)
		h.evicted++
	}
	for h.bytes > h.most {
		h.order.Front().Value.(*memoryUser).forget(0, 1) // a history is in order, so its oldest entry is its first
		h.evicted++
	}
}
