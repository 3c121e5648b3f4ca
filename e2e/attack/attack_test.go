package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

// TestMain runs the tests or, in the process that TestAttack has started, the attacker.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-attacker" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// TestAttack is the short form of `make attack`. Beside other tests the machine's
// scheduler has the last word on latency, so half a second will do.
func TestAttack(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, err := perform(t.Context(), short, self)
	if err != nil {
		t.Fatal(err)
	}
	r.least = 500 * time.Millisecond
	r.print(t.Output())
	for _, p := range r.problems() {
		t.Error(p)
	}
}

// TestJudge: a run that shows any one thing that must not be is not passed.
func TestJudge(t *testing.T) {
	t.Parallel()
	good := func() *result {
		v := vitals{heap: 50 << 20, goroutines: 500, descriptors: 300}
		l := latencies{n: 1000, p99: 10 * time.Millisecond}
		return &result{quiet: l, attacked: l, bridges: []account{{name: "open", before: v, after: v, peak: 300 << 20}}, tries: []tried{{Name: "x", Tries: 1, Answered: 1}}}
	}
	if got := good().problems(); len(got) != 0 {
		t.Errorf("a good run: %q", got)
	}
	for want, spoil := range map[string]func(*result){
		"p99":               func(r *result) { r.attacked.p99 = 31 * time.Millisecond },
		"open: heap":        func(r *result) { r.bridges[0].after.heap *= 1.2 },
		"open: goroutines":  func(r *result) { r.bridges[0].after.goroutines *= 1.2 },
		"open: descriptors": func(r *result) { r.bridges[0].after.descriptors *= 1.2 },
		"open: 1 panics":    func(r *result) { r.bridges[0].panics = 1 },
		"open: 500 MB":      func(r *result) { r.bridges[0].peak = 500 << 20 },
		"user":              func(r *result) { r.wrongs = []string{"user lost its connection"} },
		"x: answered":       func(r *result) { r.tries[0].Wrong = []string{"answered 200"} },
		"x: never":          func(r *result) { r.tries[0].Tries = 0 },
	} {
		r := good()
		spoil(r)
		got := r.problems()
		if len(got) != 1 || !strings.HasPrefix(got[0], want) {
			t.Errorf("%s", cmp.Diff([]string{want}, got))
		}
	}
}
