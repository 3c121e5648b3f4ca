package sio

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestTurnsRest: after so much work that a millisecond of rest is owed it is taken, and
// time in which nobody wanted the turn counts as rest.
func TestTurnsRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(1)
		work := func(d time.Duration) (waited time.Duration) {
			asked := time.Now()
			mine := turns.take(t.Context())
			waited = time.Since(asked)
			time.Sleep(d)
			turns.end(mine)
			return waited
		}
		for i, step := range []struct{ idle, owes, waits time.Duration }{
			{0, 400 * time.Microsecond, 0},
			{0, 600 * time.Microsecond, 0},
			{0, 5 * time.Millisecond, time.Millisecond}, // of both before
			{0, 900 * time.Microsecond, 5 * time.Millisecond},
			{500 * time.Microsecond, 500 * time.Microsecond, 0}, // 400 are still owed
			{0, 100 * time.Microsecond, 0},
			{0, 0, time.Millisecond},
			{time.Hour, 900 * time.Microsecond, 0},
			{0, 0, 0}, // nothing is owed for what was long ago
		} {
			time.Sleep(step.idle)
			if waited := work(time.Duration(float64(step.owes) / restShare)); waited != step.waits {
				t.Errorf("step %d waits %v, want %v", i, waited, step.waits)
			}
		}
	})
}

// TestTurnsGivenUp: who does not wait any more takes none.
func TestTurnsGivenUp(t *testing.T) {
	t.Parallel()
	turns := newTurns(1)
	mine := turns.take(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if turns.take(ctx) != nil {
		t.Error("a turn that somebody has was given")
	}
	turns.end(mine)
	turns.end(nil) // of one that was never given
	if n := len(turns.free); n != 1 {
		t.Errorf("%d turns are free", n)
	}
}
