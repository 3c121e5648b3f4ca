package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// teardown stops what was started, last started first. Each step has its own
// limit, so that a stuck one cannot spend the time of the next, and none gets the
// signal's context, which has ended by then.
type teardown []step

type step struct {
	name  string
	limit time.Duration
	stop  func(context.Context) error
}

func (d *teardown) add(name string, limit time.Duration, stop func(context.Context) error) {
	*d = append(*d, step{name, limit, stop})
}

func (d teardown) run(ctx context.Context, log *slog.Logger) error {
	var errs []error
	for _, s := range slices.Backward(d) {
		began := time.Now()
		limited, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), s.limit, fmt.Errorf("not done within %v", s.limit))
		if err := s.stop(limited); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", s.name, err))
		}
		cancel()
		log.LogAttrs(ctx, slog.LevelDebug, "stopped", slog.String("step", s.name), slog.Duration("took", time.Since(began)))
	}
	return errors.Join(errs...)
}
