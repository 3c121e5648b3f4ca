package subscriber

import (
	"testing"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/subscriber/natstest"
)

// drain ends an intake, and returns how long that took.
func drain(stop func()) time.Duration {
	began := time.Now()
	stop()
	return time.Since(began)
}

// lead runs the intake of a node until it leads.
func lead(t *testing.T, s *natstest.Instance, node bridge.NodeID) (k *taker, i *Intake, stop func()) {
	t.Helper()
	k = &taker{}
	i, stop = run(t, ready(t, s, node), k.handler())
	waitFor(t, string(node)+" leads", i.Leading)
	return k, i, stop
}

func TestDrainReturnsWhenAnotherNodeReads(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	takers := map[string]*taker{"a": {}, "b": {}, "c": {}}
	intakes, stops := map[string]*Intake{}, map[string]func(){}
	for _, node := range []string{"a", "b", "c"} {
		c := ready(t, s, bridge.NodeID(node))
		intakes[node], stops[node] = run(t, c, takers[node].handler())
		if node == "a" {
			waitFor(t, "a leads", intakes["a"].Leading)
		}
	}
	leader := "a"
	for len(stops) > 1 {
		if took := drain(stops[leader]); took > 500*time.Millisecond {
			t.Errorf("Drain took %v, want far less than the second between two campaigns", took)
		}
		delete(stops, leader)
		next := ""
		for node := range stops {
			if intakes[node].Leading() {
				next = node
			}
		}
		if next == "" {
			t.Fatalf("nobody leads when the Drain of %s returns", leader)
		}
		leader = next
	}
	publish(t, intakes[leader].client, 0, 1)
	waitFor(t, "the last one reads", func() bool { return takers[leader].count() == 1 })
}

func TestDrainOfTheOnlyNodeWaitsForNobody(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	_, _, stop := lead(t, s, "a")
	if took := drain(stop); took > handoverLimit/2 {
		t.Errorf("Drain took %v", took)
	}
}

func TestDrainOfANodeThatDoesNotLeadWaitsForNobody(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	_, ia, _ := lead(t, s, "a")
	b := &taker{}
	_, stopB := run(t, ready(t, s, "b"), b.handler())
	if took := drain(stopB); took > handoverLimit/2 {
		t.Errorf("Drain took %v", took)
	}
	if !ia.Leading() {
		t.Error("a leads no longer")
	}
}

func TestDrainWaitsForAStalledNodeOnlySoLong(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	_, i, stop := lead(t, s, "a")
	stalled := s.Connect()
	if _, err := stalled.SubscribeSync(i.handover.subject); err != nil {
		t.Fatal(err)
	}
	if err := stalled.Flush(); err != nil {
		t.Fatal(err)
	}
	if took := drain(stop); took < handoverLimit || took > handoverLimit+time.Second {
		t.Errorf("Drain took %v, want %v", took, handoverLimit)
	}
}

// The next leader's own campaign may be quicker than the word that the lease is free.
func TestWhoReadsAlreadyAnswersAtOnce(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	k, i, _ := lead(t, s, "a")
	publish(t, i.client, 0, 1)
	waitFor(t, "reading", func() bool { return k.count() == 1 })
	m, err := s.Connect().Request(i.handover.subject, nil, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if string(m.Data) != "a" {
		t.Errorf("answer %q, want the node's name", m.Data)
	}
}
