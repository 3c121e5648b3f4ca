package subscriber

import (
	"context"
	"testing"

	"github.com/codewar/socketbridge/subscriber/natstest"
)

// process opens a client that keeps its identity until the returned function is called.
func process(t *testing.T, s *natstest.Instance) (c *Client, end func()) {
	t.Helper()
	c = ready(t, s, "a")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); c.KeepIdentity(ctx, func() {}) }()
	end = func() { cancel(); <-done }
	t.Cleanup(end)
	return c, end
}

// A second process with a node id is not ready for as long as the first one lives.
func TestNodeIDIsExclusive(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	first, _ := process(t, s)
	waitFor(t, "the first is ready", func() bool { return first.IdentityErr() == nil })
	second, _ := process(t, s)
	checked := func() bool { return second.identity.Load() != nil && second.IdentityErr() != errUnchecked }
	waitFor(t, "the second has asked", checked)
	for range 2 { // also later
		if err := second.IdentityErr(); err == nil {
			t.Error("the second is ready beside the first")
		}
		second.identity.Load().check(t.Context())
		first.identity.Load().check(t.Context())
		if err := first.IdentityErr(); err != nil {
			t.Errorf("the first is not ready: %v", err)
		}
	}
	disconnected(first) // as a process that is killed
	waitFor(t, "the second takes over", func() bool { return second.IdentityErr() == nil })
}

// Of processes that start at once, or find each other after the network was cut, one is ready.
func TestNodeIDOfOneAmongEquals(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	a, _ := process(t, s)
	b, _ := process(t, s)
	waitFor(t, "one is ready", func() bool { return (a.IdentityErr() == nil) != (b.IdentityErr() == nil) })
	for _, c := range []*Client{a, b} {
		i := c.identity.Load()
		i.mu.Lock()
		i.sure = true
		i.mu.Unlock()
	}
	waitFor(t, "one is ready again", func() bool {
		a.identity.Load().check(t.Context())
		b.identity.Load().check(t.Context())
		return (a.IdentityErr() == nil) != (b.IdentityErr() == nil)
	})
}
