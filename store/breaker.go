package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/codewar/socketbridge/bridge"
)

const (
	breakerFailures = 3           // in a row, before calls fail without trying
	breakerPause    = time.Second // until one call may try again
)

// errTooSlow is the cause of a context that ended because of our own limit.
var errTooSlow = fmt.Errorf("%w: no answer in time", bridge.ErrUnavailable)

// breaker stands before every round trip. It spares callers the wait for a
// server that is known not to answer, and a server that comes back the rush of
// everybody at once: after [breakerFailures] silences in a row calls fail at
// once, and each [breakerPause] one of them may try.
//
// An error that the server answered with is no silence. Silence is returned as
// [bridge.ErrUnavailable].
type breaker struct {
	log *slog.Logger

	mu       sync.Mutex
	failures int       // in a row
	retry    time.Time // with failures at the limit: when the next call may try
	probing  bool      // one call is out to see
}

// guard makes one round trip.
func (b *breaker) guard(ctx context.Context, roundTrip func() error) error {
	if !b.allow(time.Now()) {
		return bridge.ErrUnavailable
	}
	err := roundTrip()
	v := judge(ctx, err)
	b.done(v, err, time.Now())
	switch v {
	case silent:
		return fmt.Errorf("%w: %w", bridge.ErrUnavailable, err)
	case abandoned:
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	default:
		return err
	}
}

// allow reports whether a call may go out; each that may ends in done.
func (b *breaker) allow(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures < breakerFailures {
		return true
	}
	if b.probing || now.Before(b.retry) {
		return false
	}
	b.probing = true
	return true
}

// done records how an allowed call ended.
func (b *breaker) done(v verdict, err error, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
	switch v {
	case answered:
		if b.failures >= breakerFailures {
			b.log.Info("redis answers again")
		}
		b.failures = 0
	case silent:
		b.failures++
		if b.failures == breakerFailures {
			b.log.Warn("redis does not answer", "err", err)
		}
		b.retry = now.Add(breakerPause)
	case abandoned: // says nothing about the server
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
