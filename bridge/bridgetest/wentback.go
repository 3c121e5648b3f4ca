package bridgetest

import (
	"errors"
	"testing"

	"github.com/codewar/socketbridge/bridge"
)

// Rewindable is a backend of its own that a test can put back to an earlier state, as a
// failover to a replica that was behind does.
type Rewindable struct {
	At   func(bridge.NodeID) bridge.Store // see [Open]
	Save func()
	Back func() // to the state that it had at Save
}

// TestWentBack runs what a store must survive that goes back to an earlier state.
func TestWentBack(t *testing.T, open func(testing.TB, Limits) Rewindable) {
	for name, test := range wentBackTests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t, long()))
		})
	}
}

var wentBackTests = map[string]func(*testing.T, Rewindable){
	"sockets are found again when they are renewed": func(t *testing.T, backend Rewindable) {
		a, b := join(t, backend.At, "a"), join(t, backend.At, "b")
		a.register(socket("u", "s1"))
		backend.Save()
		a.register(socket("u", "s2"))
		b.register(socket("u", "s3"))
		b.register(socket("v", "s4"))
		backend.Back()
		waitFor(t, "both nodes are connected again", func() bool {
			return a.Ping(t.Context()) == nil && b.Ping(t.Context()) == nil
		})
		equal(t, "rejoined", []bool{a.beat(), b.beat()}, []bool{false, false}) // the leases say nothing

		equal(t, "lost of a", a.renew(renewal("u", "s1", 0), renewal("u", "s2", 0)), []bool{false, true})
		equal(t, "lost of b", b.renew(renewal("u", "s3", 0), renewal("v", "s4", 0)), []bool{true, true})
		equal(t, "located", a.located("u"), []string{"s1@a", "s2@a", "s3@b"})
		equal(t, "located", a.located("v"), []string{"s4@b"})
	},

	// What was lost is less than what a node looks for each second.
	"the node is told at once, and nobody is judged absent": func(t *testing.T, backend Rewindable) {
		a, b := join(t, backend.At, "a"), join(t, backend.At, "b")
		equal(t, "went back", a.wentBack()+b.wentBack(), 0)
		equal(t, "absent", a.located("u"), []string(nil))
		equal(t, "went back", a.wentBack()+b.wentBack(), 0)
		backend.Save()
		b.register(socket("u", "s"))
		backend.Back()
		absent := func(when string) {
			t.Helper()
			waitFor(t, "the store answers", func() bool { return a.Ping(t.Context()) == nil })
			if got := a.Locate(t.Context(), []bridge.UserID{"u"})[0]; !errors.Is(got.Err, bridge.ErrUnavailable) {
				t.Errorf("%s: Locate: %+v; want ErrUnavailable", when, got)
			}
		}
		absent("before a node has looked")
		waitFor(t, "b looks", func() bool {
			parts, err := b.WentBack(t.Context())
			return err == nil && parts == 1
		})
		equal(t, "went back", a.wentBack(), 1)
		absent("after it has looked")
		equal(t, "went back", a.wentBack()+b.wentBack(), 0)
		equal(t, "lost", b.renew(renewal("u", "s", 0)), []bool{true})
		equal(t, "located", a.located("u"), []string{"s@b"})
	},
}
