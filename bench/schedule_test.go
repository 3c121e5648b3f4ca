package main

import (
	"context"
	"net/http"
	"runtime/metrics"
	"testing"
	"time"
)

// A schedule that cannot be kept is caught up with, and says when each was due: what
// was late is not forgotten.
func TestScheduleRemembersWhatIsLate(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var due []time.Duration
	stalled := time.Duration(0)
	err := onSchedule(ctx, 1000, func(i int, at time.Duration) error {
		if due = append(due, at); i == 5 {
			for stalled = at + 20*time.Millisecond; now() < stalled; {
			}
		}
		if at > stalled && i > 25 {
			cancel()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, at := range due[1:] {
		if at-due[i] != time.Millisecond {
			t.Fatalf("%v after the one before, want 1ms", at-due[i])
		}
	}
}

// Neither the schedule nor the browsers wait in a system call, where they would keep one of
// the runtime's few processors from whoever has something to do.
func TestWaitingKeepsNoProcessor(t *testing.T) {
	t.Run("browsers", func(t *testing.T) {
		swarmAt(t, http.NotFound) // its reader waits
		wantNoSystemCall(t)
	})
	t.Run("schedule", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- onSchedule(ctx, 100, func(int, time.Duration) error { return nil }) }()
		wantNoSystemCall(t)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// wantNoSystemCall fails when some goroutine is in a system call at most looks.
func wantNoSystemCall(t *testing.T) {
	t.Helper()
	in := []metrics.Sample{{Name: "/sched/goroutines/not-in-go:goroutines"}}
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	const looks = 40
	found := 0
	for range looks {
		<-look.C
		if metrics.Read(in); in[0].Value.Uint64() > 0 {
			found++
		}
	}
	if found > looks/2 { // anybody may be in one for a moment
		t.Errorf("%d of %d times a goroutine was in a system call", found, looks)
	}
}
