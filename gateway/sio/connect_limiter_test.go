package sio

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestConnectSlotCoolsDown: a slot cools down once it owes a millisecond, and time in which it is
// free counts.
func TestConnectSlotCoolsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limiter := newConnectLimiter(1)
		work := func(d time.Duration) (waited time.Duration) {
			asked := time.Now()
			mine := limiter.take(t.Context())
			waited = time.Since(asked)
			time.Sleep(d)
			limiter.release(mine)
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
			{0, 0, 0}, // idle time has paid
		} {
			time.Sleep(step.idle)
			if waited := work(time.Duration(float64(step.owes) / cooldownShare)); waited != step.waits {
				t.Errorf("step %d waits %v, want %v", i, waited, step.waits)
			}
		}
	})
}

// TestConnectSlotNotTaken: a caller whose context has ended takes no slot.
func TestConnectSlotNotTaken(t *testing.T) {
	t.Parallel()
	limiter := newConnectLimiter(1)
	mine := limiter.take(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if limiter.take(ctx) != nil {
		t.Error("a slot was taken twice")
	}
	limiter.release(mine)
	limiter.release(nil) // none was taken
	if n := len(limiter.free); n != 1 {
		t.Errorf("%d slots are free, want 1", n)
	}
}
