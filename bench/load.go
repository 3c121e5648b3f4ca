package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// load is a way into the server under test.
type load interface {
	// flood publishes as fast as the server delivers, until ctx ends.
	flood(ctx context.Context) error
	// pace publishes so many messages a second, until ctx ends.
	pace(ctx context.Context, rate int) error
	// settle waits until all that was published is acknowledged.
	settle(ctx context.Context) error
	close()
}

// errStuck means that messages were sent and nothing has come for too long.
var errStuck = errors.New("nothing arrives any more")

// patience is how long nothing may arrive before what is missing is lost.
const patience = 10 * time.Second

// window holds a publisher back while too much is on its way. Without it a server's peak would be
// measured with whatever backlog the publisher could build up, in other places for each server.
type window struct {
	swarm     *swarm
	size      uint64
	published atomic.Uint64
}

// windowFor allows so many messages on their way, and of large ones so many bytes.
func windowFor(s *swarm, size int) *window {
	const messages, bytes = 8192, 32 << 20 // below what a stream takes in at a time: 10,000
	w := &window{swarm: s, size: uint64(max(min(messages, bytes/size), 64))}
	w.published.Store(s.received.Load())
	return w
}

// wait returns when less than the window's size is on its way, or an error.
func (w *window) wait(ctx context.Context, below uint64) error {
	var stuck <-chan time.Time
	for {
		received := w.swarm.received.Load()
		if w.published.Load() < received+below {
			return nil
		}
		if stuck == nil {
			stuck = time.After(patience)
		}
		select {
		case <-w.swarm.progress:
			if w.swarm.received.Load() != received {
				stuck = nil
			}
		case <-stuck:
			return fmt.Errorf("%w: %d of %d", errStuck, received, w.published.Load())
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// drain waits until all that was published has come.
func (w *window) drain(ctx context.Context) error { return w.wait(ctx, 1) }
