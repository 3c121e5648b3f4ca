package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/codewar/socketbridge/bridge"
)

// errTooSlow is the cause of a context that ended because of our own limit.
var errTooSlow = fmt.Errorf("%w: no answer in time", bridge.ErrUnavailable)

// breakers watches the servers: the single one, or each node of a Cluster.
type breakers struct {
	life    context.Context // ends the probes
	timeout time.Duration   // of a probe
	reload  func()          // looks for the masters again; nil where there is one
	log     *slog.Logger

	probes sync.WaitGroup
	away   atomic.Int64 // servers that have answered no probe
}

// watch puts a breaker before every round trip to a server.
func (bs *breakers) watch(client *redis.Client) {
	client.AddHook(&breaker{
		breakers: bs, addr: client.Options().Addr,
		ping: func(ctx context.Context) error { return client.Ping(ctx).Err() },
	})
}

// breaker stands before the round trips to one server. It spares callers the wait for a server
// that is known not to answer, and a server that comes back the rush of all callers at once: after
// one silence calls fail at once with [bridge.ErrUnavailable], until a probe of its own is answered.
// A server that was only slow answers the first probe, in a round trip.
//
// An error that the server answered with is no silence.
type breaker struct {
	*breakers
	addr string
	ping func(context.Context) error
	open atomic.Bool // a probe is out
}

var _ redis.Hook = (*breaker)(nil)

// errOpen is what calls get that are not tried.
var errOpen = fmt.Errorf("%w: redis does not answer", bridge.ErrUnavailable)

// DialHook implements [redis.Hook]. A connection is made within a round trip.
func (b *breaker) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements [redis.Hook].
func (b *breaker) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if b.refuses(ctx) {
			cmd.SetErr(errOpen)
			return errOpen
		}
		err := next(ctx, cmd)
		b.done(ctx, err)
		return err
	}
}

// ProcessPipelineHook implements [redis.Hook].
func (b *breaker) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if b.refuses(ctx) {
			for _, cmd := range cmds {
				cmd.SetErr(errOpen)
			}
			return errOpen
		}
		err := next(ctx, cmds)
		b.done(ctx, err)
		return err
	}
}

// probing marks the context of a probe, which goes out while the breaker is open.
type probing struct{}

func (b *breaker) refuses(ctx context.Context) bool {
	return b.open.Load() && ctx.Value(probing{}) == nil
}

// done notes how a round trip ended.
func (b *breaker) done(ctx context.Context, err error) {
	switch {
	case judge(ctx, err) != silent, ctx.Value(probing{}) != nil, b.life.Err() != nil:
	case errors.Is(err, redis.ErrPoolTimeout): // too many calls at once, which says nothing of the server
	case !b.open.Swap(true):
		b.probes.Go(b.probe)
	}
}

// probe closes the breaker once the server answers, or has left the Cluster.
func (b *breaker) probe() {
	defer b.open.Store(false)
	wait := bridge.Backoff{First: 20 * time.Millisecond, Most: 500 * time.Millisecond}
	for tries := 0; ; tries++ {
		ctx, cancel := context.WithTimeoutCause(context.WithValue(b.life, probing{}, true), b.timeout, errTooSlow)
		err := b.ping(ctx)
		v := judge(ctx, err)
		cancel()
		gone := errors.Is(err, redis.ErrClosed) || b.life.Err() != nil
		switch {
		case (v == answered || gone) && tries > 0:
			b.away.Add(-1)
			if !gone {
				b.log.Info("redis answers again", "addr", b.addr)
			}
			return
		case v == answered || gone:
			return
		case tries == 0:
			b.away.Add(1)
			b.log.Warn("redis does not answer", "addr", b.addr, "err", err)
		}
		if b.reload != nil {
			b.reload()
		}
		select {
		case <-time.After(wait.Next()):
		case <-b.life.Done():
		}
	}
}

type verdict int

const (
	answered  verdict = iota // also with an error of the server's own
	silent                   // refused, timed out, torn
	abandoned                // the caller's context ended first
)

func judge(ctx context.Context, err error) verdict {
	if err == nil {
		return answered
	}
	if _, ok := errors.AsType[redis.Error](err); ok {
		return answered
	}
	if ctx.Err() != nil && !errors.Is(context.Cause(ctx), errTooSlow) {
		return abandoned
	}
	return silent
}

// unavailable returns the error of a round trip as callers get it: silence is
// [bridge.ErrUnavailable].
func unavailable(ctx context.Context, err error) error {
	switch judge(ctx, err) {
	case silent:
		return fmt.Errorf("%w: %w", bridge.ErrUnavailable, err)
	case abandoned:
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}
