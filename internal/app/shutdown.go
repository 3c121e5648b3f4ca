package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// shutdown stops the parts that were started, the last one first. Each step has its own limit, so
// that a stuck step does not use up the time of the next. No step gets the context of the signal,
// which has ended by then.
type shutdown []step

type step struct {
	name  string
	limit time.Duration
	stop  func(context.Context) error
}

func (s *shutdown) add(name string, limit time.Duration, stop func(context.Context) error) {
	*s = append(*s, step{name, limit, stop})
}

func (s shutdown) run(ctx context.Context, log *slog.Logger) error {
	var errs []error
	for _, step := range slices.Backward(s) {
		began := time.Now()
		limited, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), step.limit, fmt.Errorf("not done within %v", step.limit))
		if err := step.stop(limited); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", step.name, err))
		}
		cancel()
		log.LogAttrs(ctx, slog.LevelDebug, "stopped", slog.String("step", step.name), slog.Duration("took", time.Since(began)))
	}
	return errors.Join(errs...)
}
