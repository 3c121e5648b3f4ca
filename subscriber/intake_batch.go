package subscriber

import (
	"context"
	"sync"

	"github.com/codewar/socketbridge/bridge"
)

// batchMessages and batchBytes bound one batch, and so one round trip to the store. A larger batch
// saves round trips and writes to the sockets, but its first message waits longer for the last:
// some 50 ms, when so many come while the batch before is routed. A batch exceeds batchBytes by at
// most one message.
const (
	batchMessages = 4096
	batchBytes    = 4 << 20
)

// batchBuffer collects the next batch while the one before is routed. add waits while it is full,
// which bounds its memory.
type batchBuffer struct {
	notEmpty chan struct{} // capacity 1
	notFull  chan struct{} // capacity 1

	mu    sync.Mutex // guards all below
	batch []bridge.Message
	size  int // of the bodies, in bytes
	hint  int // the number of messages of the batch before
}

func newBatchBuffer() *batchBuffer {
	return &batchBuffer{notEmpty: make(chan struct{}, 1), notFull: make(chan struct{}, 1)}
}

// add appends a message, unless ctx ends before there is room. Only one
// goroutine adds.
func (b *batchBuffer) add(ctx context.Context, m bridge.Message) {
	for !b.try(m) {
		select {
		case <-b.notFull:
		case <-ctx.Done():
			return
		}
	}
	signal(b.notEmpty)
}

func (b *batchBuffer) try(m bridge.Message) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.batch) >= batchMessages || b.size >= batchBytes {
		return false
	}
	if b.batch == nil {
		b.batch = make([]bridge.Message, 0, b.hint+b.hint/4+4)
	}
	b.batch = append(b.batch, m)
	b.size += len(m.Body)
	return true
}

// take returns the batch; it may be empty.
func (b *batchBuffer) take() []bridge.Message {
	b.mu.Lock()
	batch := b.batch
	if len(batch) > 0 {
		b.batch, b.size, b.hint = nil, 0, len(batch)
	}
	b.mu.Unlock()
	signal(b.notFull)
	return batch
}

// signal sends to a channel of capacity 1, unless it is full.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
