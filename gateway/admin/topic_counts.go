package admin

import (
	"maps"
	"sync"
	"sync/atomic"
)

// maxTopics is how many topics are counted by name.
const maxTopics = 50

// otherTopics is the name of all the rest. No topic of a user can be confused with
// it in a way that matters: it would be added to.
const otherTopics = "other"

// topics counts messages by topic. A topic that is known costs a look-up and an
// addition; a new one, which at most fifty are, costs a copy of the map.
type topics struct {
	known atomic.Pointer[map[string]*atomic.Uint64] // replaced, never changed
	rest  atomic.Uint64
	mu    sync.Mutex // held while the map is replaced
}

func newTopics() *topics {
	t := new(topics)
	t.known.Store(&map[string]*atomic.Uint64{})
	return t
}

func (t *topics) count(topic string) {
	known := *t.known.Load()
	n := known[topic]
	switch {
	case n != nil:
		n.Add(1)
	case len(known) >= maxTopics:
		t.rest.Add(1)
	default:
		t.add(topic).Add(1)
	}
}

// add returns the count of a topic, which is the rest's when there are too many.
func (t *topics) add(topic string) *atomic.Uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := *t.known.Load()
	if n := known[topic]; n != nil {
		return n
	}
	if len(known) >= maxTopics {
		return &t.rest
	}
	more := maps.Clone(known)
	n := new(atomic.Uint64)
	more[topic] = n
	t.known.Store(&more)
	return n
}

func (t *topics) counts() map[string]uint64 {
	out := make(map[string]uint64)
	for topic, n := range *t.known.Load() {
		out[topic] = n.Load()
	}
	if n := t.rest.Load(); n > 0 {
		out[otherTopics] += n
	}
	return out
}
