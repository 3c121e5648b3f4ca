package admin

import (
	"sync"
	"sync/atomic"
)

// maxTopics is how many topics are counted by name.
const maxTopics = 50

// otherTopics names the count of all other topics, and of a topic of this name.
const otherTopics = "other"

// topics counts messages by topic. The zero value is ready. A known topic costs a look-up and an
// addition. Safe for concurrent use.
type topics struct {
	known sync.Map      // of string to *atomic.Uint64
	rest  atomic.Uint64 // of all other topics
	mu    sync.Mutex    // held while a topic is added
	names atomic.Int64  // of known; changed under mu
}

func (t *topics) count(topic string) {
	n, ok := t.known.Load(topic)
	if !ok {
		n = t.add(topic)
	}
	n.(*atomic.Uint64).Add(1)
}

// add returns the count of a topic that was not known: its own, or that of the rest when there are
// maxTopics.
func (t *topics) add(topic string) any {
	if t.names.Load() == maxTopics {
		return &t.rest
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n, known := t.known.Load(topic)
	switch {
	case known:
		return n
	case t.names.Load() == maxTopics:
		return &t.rest
	}
	t.names.Add(1)
	n = new(atomic.Uint64)
	t.known.Store(topic, n)
	return n
}

func (t *topics) counts() map[string]uint64 {
	out := make(map[string]uint64)
	t.known.Range(func(topic, n any) bool {
		out[topic.(string)] = n.(*atomic.Uint64).Load()
		return true
	})
	if n := t.rest.Load(); n > 0 {
		out[otherTopics] += n
	}
	return out
}
