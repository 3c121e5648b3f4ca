package bridge

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

// Backoff is the time between retries: from First, doubling, up to Most,
// each with a jitter between a half and the whole, so that many nodes do
// not retry at the same time.
type Backoff struct {
	First, Most time.Duration
	next        time.Duration
}

// Next returns the next wait.
func (b *Backoff) Next() time.Duration {
	b.next = min(max(2*b.next, b.First), b.Most)
	return b.next/2 + rand.N(b.next/2+1)
}

// Reset makes the next wait the first one again.
func (b *Backoff) Reset() { b.next = 0 }

// Retry calls op until it succeeds or ctx ends, and returns the context's cause
// in that case. It logs the first failure, and the success after one.
func Retry(ctx context.Context, log *slog.Logger, what string, op func(context.Context) error) error {
	wait := Backoff{First: 20 * time.Millisecond, Most: time.Second}
	began := time.Now()
	for tries := 1; ; tries++ {
		err := op(ctx)
		if err == nil {
			if tries > 1 {
				log.LogAttrs(ctx, slog.LevelInfo, "works again", slog.String("step", what), slog.Int("tries", tries), slog.Duration("took", time.Since(began)))
			}
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if tries == 1 {
			log.LogAttrs(ctx, slog.LevelWarn, "fails, trying again until it works", slog.String("step", what), slog.Any("err", err))
		}
		select {
		case <-time.After(wait.Next()):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
