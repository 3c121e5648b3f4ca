// Package wait lets tests wait for what other goroutines and processes do, without
// guessing how long that takes.
package wait

import (
	"testing"
	"time"
)

const (
	// limit is beyond what anything takes, also under the race detector on a busy machine.
	limit = 30 * time.Second
	pause = 5 * time.Millisecond // between two looks
)

// For returns when cond holds, and fails the test when it does not within 30 s. It is
// called by the test's own goroutine.
func For(t testing.TB, what string, cond func() bool) {
	t.Helper()
	Until(t, what, func() string {
		if cond() {
			return ""
		}
		return "not yet"
	})
}

// Until returns when state is "", and fails the test with the last state when it is
// something else for 30 s. It is called by the test's own goroutine.
func Until(t testing.TB, what string, state func() string) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for last := state(); last != ""; last = state() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain until %s: %s", limit, what, last)
		}
		time.Sleep(pause)
	}
}
