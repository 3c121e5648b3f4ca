package subscriber

import (
	"context"
	"testing"
	"testing/synctest"
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
func lead(t *testing.T, s *natstest.Instance, l *leases, node bridge.NodeID) (k *taker, i *Intake, stop func()) {
	t.Helper()
	k = &taker{leases: l}
	i, stop = run(t, ready(t, s, node), &seat{leases: l, node: node}, k.handler())
	waitFor(t, string(node)+" leads", i.Leading)
	return k, i, stop
}

func TestDrainReturnsWhenAnotherNodeReads(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	l := &leases{ttl: time.Minute}
	takers := map[string]*taker{"a": {leases: l}, "b": {leases: l}, "c": {leases: l}}
	intakes, stops := map[string]*Intake{}, map[string]func(){}
	for _, node := range []string{"a", "b", "c"} {
		c := ready(t, s, bridge.NodeID(node))
		intakes[node], stops[node] = run(t, c, &seat{leases: l, node: bridge.NodeID(node)}, takers[node].handler())
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
	l := &leases{ttl: time.Minute}
	_, _, stop := lead(t, s, l, "a")
	if took := drain(stop); took > handoverLimit/2 {
		t.Errorf("Drain took %v", took)
	}
}

func TestDrainOfANodeThatDoesNotLeadWaitsForNobody(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	l := &leases{ttl: time.Minute}
	_, ia, _ := lead(t, s, l, "a")
	b := &taker{leases: l}
	_, stopB := run(t, ready(t, s, "b"), &seat{leases: l, node: "b"}, b.handler())
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
	l := &leases{ttl: time.Minute}
	_, i, stop := lead(t, s, l, "a")
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
	l := &leases{ttl: time.Minute}
	k, i, _ := lead(t, s, l, "a")
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

func TestElectionCampaignsWhenTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		l := &leases{ttl: time.Minute, holder: "b", until: time.Now().Add(time.Minute)}
		told := make(chan struct{}, 1)
		e := election{leases: &seat{leases: l, node: "a"}, told: told, log: discard}
		time.AfterFunc(2300*time.Millisecond, func() {
			l.mu.Lock()
			l.holder = ""
			l.mu.Unlock()
			told <- struct{}{}
		})
		stop, cancel := context.WithCancel(t.Context())
		if !e.run(t.Context(), stop, func(context.Context, uint64) {
			if at := time.Since(start); at != 2300*time.Millisecond {
				t.Errorf("leads after %v, want at the moment it was told, 2.3 s", at)
			}
			cancel()
		}) {
			t.Error("a leader that was stopped says that it has not resigned")
		}
	})
}
