package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/codewar/socketbridge/bridge"
)

const (
	// maxPipelined bounds how many calls share one round trip, so that each holds
	// the server for a few milliseconds at most.
	maxPipelined = 128
	// mostWaiting is how many calls may wait for the next one; more wait to wait.
	mostWaiting = 1024
)

// errClosed means that the store was closed while a call waited.
var errClosed = errors.New("store is closed")

// pipelineRequest is a call that waits for a round trip together with others.
type pipelineRequest struct {
	ctx  context.Context // the caller's; a call whose caller has given up is not sent
	cmds []redis.Cmder
	done chan error // capacity 1
}

// pipelined sends commands in a round trip that they may share with those of other
// callers. When sockets come or leave by the thousand, the calls that arrive during
// one round trip make the next; a lone call does not wait. Calls go out in the
// order in which they were made, so what a socket's end removes was written before.
// An error is the caller's own: another's does not show.
//
// The commands are not the caller's to read after an error.
func (r *Redis) pipelined(ctx context.Context, cmds ...redis.Cmder) error {
	f := pipelineRequest{ctx, cmds, make(chan error, 1)}
	select {
	case r.waiting <- f:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-r.life.Done():
		return errClosed
	}
	select {
	case err := <-f.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-r.life.Done():
		return errClosed
	}
}

// runPipeline makes the shared round trips, one at a time, until the store is closed.
func (r *Redis) runPipeline() {
	var requests []pipelineRequest
	var cmds []redis.Cmder
	for {
		requests, cmds = requests[:0], cmds[:0]
		select {
		case f := <-r.waiting:
			requests = append(requests, f)
		case <-r.life.Done():
			return
		}
		for more := true; more && len(requests) < maxPipelined; {
			select {
			case f := <-r.waiting:
				requests = append(requests, f)
			default:
				more = false
			}
		}
		requests = slices.DeleteFunc(requests, func(f pipelineRequest) bool { return f.ctx.Err() != nil })
		for _, f := range requests {
			cmds = append(cmds, f.cmds...)
		}
		r.execBatch(requests, cmds)
		clear(requests)
		clear(cmds)
	}
}

// execBatch makes one round trip and tells each caller how its own commands went.
func (r *Redis) execBatch(requests []pipelineRequest, cmds []redis.Cmder) {
	if len(cmds) == 0 {
		return
	}
	ctx, cancel := context.WithTimeoutCause(r.life, r.timeout, errTooSlow)
	defer cancel()
	err := r.run(ctx, cmds...)
	sent := slices.ContainsFunc(cmds, func(c redis.Cmder) bool { return c.Err() != nil })
	for _, f := range requests {
		own := err
		if err != nil && sent {
			own = firstError(f.cmds)
		}
		f.done <- own
	}
}

// firstError returns the error of the first command that has one. Silence of the
// server is [bridge.ErrUnavailable].
func firstError(cmds []redis.Cmder) error {
	for _, c := range cmds {
		err := c.Err()
		if err == nil {
			continue
		}
		if _, answered := errors.AsType[redis.Error](err); answered {
			return err
		}
		return fmt.Errorf("%w: %w", bridge.ErrUnavailable, err)
	}
	return nil
}
