package bridge

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestMemberRegistersAgain: a store that went back has every socket registered again although
// the lease lives, and again until that has worked.
func TestMemberRegistersAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		beats := 0
		var back, fails, registered atomic.Int64
		m := Member{
			Lease: 10 * time.Second,
			Beat:  func(context.Context) (bool, error) { beats++; return beats == 1, nil },
			WentBack: func(context.Context) (int, error) {
				return int(back.Swap(0)), errors.New("another part does not answer")
			},
			Rejoined: func(context.Context) error {
				if fails.Add(-1) >= 0 {
					return errors.New("away")
				}
				registered.Add(1)
				return nil
			},
			Log: slog.New(slog.DiscardHandler),
		}
		go m.Run(ctx)
		after := func(d time.Duration, want int64) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if n := registered.Load(); n != want {
				t.Fatalf("registered %d times, want %d", n, want)
			}
		}
		after(10*time.Second+beatEvery/2, 1)
		back.Store(2)
		fails.Store(1)
		after(beatEvery, 1) // failed
		after(beatEvery, 2)
		after(10*time.Second, 2)
		stop()
	})
}
