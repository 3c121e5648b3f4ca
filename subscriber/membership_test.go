package subscriber

import (
	"slices"
	"testing"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/subscriber/natstest"
)

func TestNodesThatLive(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	a, b := ready(t, s, "a"), ready(t, s, "b")
	ready(t, s, "c") // takes nothing, and so is not announced
	for _, c := range []*Client{a, b} {
		if err := c.ReceiveForwards(func([]*bridge.Envelope, func([]bridge.Count)) {}, func() {}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []*Client{a, b} {
		waitFor(t, "both are listed", func() bool { return slices.Equal(c.Nodes(), []bridge.NodeID{"a", "b"}) })
	}
	if err := s.Connect().Publish(a.cfg.aliveSubject(), []byte("not a node.")); err != nil {
		t.Fatal(err)
	}
	if a.Unproven() || b.Unproven() {
		t.Error("all sockets are registered")
	}
	b.SetUnregistered(true)
	waitFor(t, "a knows that b has sockets without a registration", a.Unproven)
	b.SetUnregistered(false)
	waitFor(t, "a knows that it has none any more", func() bool { return !a.Unproven() })
	disconnected(b)
	waitFor(t, "a is alone", func() bool { return slices.Equal(a.Nodes(), []bridge.NodeID{"a"}) })
}
