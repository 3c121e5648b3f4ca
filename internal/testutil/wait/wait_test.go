package wait

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// told is a test that remembers why it was ended.
type told struct {
	testing.TB

	why string
}

func (*told) Helper() {}
func (f *told) Fatalf(text string, a ...any) {
	f.why = fmt.Sprintf(text, a...)
	panic(f)
}

// wait runs a wait in a bubble, and returns why it failed and how long it took.
func wait(t *testing.T, run func(t testing.TB)) (why string, took time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		began, f := time.Now(), &told{TB: t}
		func() {
			defer func() { _ = recover() }() // a test ends there
			run(f)
		}()
		why, took = f.why, time.Since(began)
	})
	return why, took
}

func TestUntil(t *testing.T) {
	looks := 0
	why, took := wait(t, func(t testing.TB) {
		Until(t, "three looks", func() string {
			if looks++; looks == 3 {
				return ""
			}
			return fmt.Sprint(looks, " looks")
		})
	})
	if why != "" || took != 2*pause {
		t.Errorf("failed %q after %v, want two pauses and no failure", why, took)
	}
	why, took = wait(t, func(t testing.TB) { Until(t, "it is ready", func() string { return "starting" }) })
	if !strings.Contains(why, "it is ready: starting") || took < limit || took > limit+2*pause {
		t.Errorf("failed %q after %v, want the last state after %v", why, took, limit)
	}
}

func TestFor(t *testing.T) {
	if why, took := wait(t, func(t testing.TB) { For(t, "nothing", func() bool { return true }) }); why != "" || took != 0 {
		t.Errorf("failed %q after %v, want to be back at once", why, took)
	}
	if why, _ := wait(t, func(t testing.TB) { For(t, "never", func() bool { return false }) }); !strings.Contains(why, "never") {
		t.Errorf("failed %q, want it to say for what", why)
	}
}
