package subscriber

import (
	"context"
	"sync"

	"github.com/codewar/socketbridge/bridge"
)

const (
	// batchMessages and batchBytes bound one batch, and so one round trip to the
	// store. The larger it is, the more of a user's messages share an entry of the
	// history and a write to the socket, and the longer the first one waits for the
	// last: some 50 ms, once so many have come while the batch before was routed. A
	// batch exceeds batchBytes by at most one message.
	batchMessages = 4096
	batchBytes    = 4 << 20
)

// gathering is the next batch, which grows while the one before is being routed.
// add waits while it is full, so at most this much is held.
type gathering struct {
	some chan struct{} // capacity 1: there is something to take
	room chan struct{} // capacity 1: a batch was taken

	mu    sync.Mutex // guards all below
	batch []bridge.Message
	size  int // of the bodies
	hint  int // how many messages the batch before had
}

func newGathering() *gathering {
	return &gathering{some: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// add appends a message, unless ctx ends before there is room. Only one
// goroutine adds.
func (g *gathering) add(ctx context.Context, m bridge.Message) {
	for !g.try(m) {
		select {
		case <-g.room:
		case <-ctx.Done():
			return
		}
	}
	signal(g.some)
}

func (g *gathering) try(m bridge.Message) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.batch) >= batchMessages || g.size >= batchBytes {
		return false
	}
	if g.batch == nil {
		g.batch = make([]bridge.Message, 0, g.hint+g.hint/4+4)
	}
	g.batch = append(g.batch, m)
	g.size += len(m.Body)
	return true
}

// take returns what has gathered; it may be nothing.
func (g *gathering) take() []bridge.Message {
	g.mu.Lock()
	batch := g.batch
	if len(batch) > 0 {
		g.batch, g.size, g.hint = nil, 0, len(batch)
	}
	g.mu.Unlock()
	signal(g.room)
	return batch
}

// signal leaves a token unless one is there.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
