package subscriber

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/subscriber/natstest"
)

// linkEnd records what a node was told, in order.
type linkEnd struct {
	mu     sync.Mutex // guards events
	events []string   // "resync", or the batch's sequences
}

func (e *linkEnd) add(s string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.events = append(e.events, s)
}

func (e *linkEnd) all() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.events)
}

func (e *linkEnd) count(s string) (n int) {
	for _, got := range e.all() {
		if got == s {
			n++
		}
	}
	return n
}

func (e *linkEnd) serve(t testing.TB, c *Client) {
	t.Helper()
	err := c.ReceiveForwards(func(batch []*bridge.Envelope, answer func([]bridge.Count)) {
		counts := make([]bridge.Count, len(batch))
		var text strings.Builder
		for i, en := range batch {
			counts[i] = bridge.Count{Took: int(en.Offset.Seq)}
			fmt.Fprint(&text, en.Offset.Seq, " ")
		}
		e.add(text.String())
		answer(counts)
	}, func() { e.add("resync") })
	if err != nil {
		t.Fatal(err)
	}
}

type answer struct {
	counts []bridge.Count
	err    error
}

func forwardTo(c *Client, term uint64, node bridge.NodeID, batch []*bridge.Envelope) <-chan answer {
	ch := make(chan answer, 2) // a second call would be seen
	c.Forward(term, node, batch, func(counts []bridge.Count, err error) { ch <- answer{counts, err} })
	return ch
}

func one(seq uint64) []*bridge.Envelope {
	return []*bridge.Envelope{{User: "u", Topic: "t", Payload: []byte("{}"), Offset: bridge.Offset{Epoch: 1, Seq: seq}}}
}

func TestForwardIsAnsweredInOrder(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	leader, node := ready(t, s, "leader"), ready(t, s, "node")
	var end linkEnd
	end.serve(t, node)

	const n = 200
	var want []string
	want = append(want, "resync") // the first term
	var answers []<-chan answer
	for i := range uint64(n) {
		answers = append(answers, forwardTo(leader, 7, "node", one(i)))
		want = append(want, fmt.Sprint(i, " "))
	}
	for i, ch := range answers {
		a := <-ch
		if diff := cmp.Diff([]bridge.Count{{Took: i}}, a.counts); a.err != nil || diff != "" {
			t.Fatalf("forward %d: %v %s", i, a.err, diff)
		}
	}
	if diff := cmp.Diff(want, end.all()); diff != "" {
		t.Error("node was told (-want +got):\n", diff)
	}
}

func TestForwardLargerThanOneMessage(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	leader, node := ready(t, s, "leader"), ready(t, s, "node")
	var end linkEnd
	end.serve(t, node)
	a := <-forwardTo(leader, 1, "node", envelopes(30, 100_000))
	if a.err != nil || len(a.counts) != 30 || a.counts[29].Took != 30 {
		t.Errorf("counts %v, err %v: want 30 in order", a.counts, a.err)
	}
	if got := len(end.all()); got != 1+3 {
		t.Errorf("node was told %d things, want a resync and three parts", got)
	}
}

func TestForwardToNobody(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	c := ready(t, s, "leader")
	if a := <-forwardTo(c, 1, "nobody", one(1)); !errors.Is(a.err, bridge.ErrNodeGone) {
		t.Errorf("err %v, want ErrNodeGone", a.err)
	}
	s.Shutdown()
	waitFor(t, "away", func() bool { return c.Ready() != nil })
	if a := <-forwardTo(c, 1, "nobody", one(1)); !errors.Is(a.err, bridge.ErrNodeGone) || !errors.Is(a.err, bridge.ErrUnavailable) {
		t.Errorf("err %v, want ErrNodeGone because of bridge.ErrUnavailable", a.err)
	}
	if a := <-forwardTo(c, 1, "nobody", nil); a.err != nil {
		t.Errorf("nothing to forward: %v", a.err)
	}
}

func TestForwardWithoutAnswer(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	c := ready(t, s, "leader")
	silent, err := s.Connect().SubscribeSync("bridge.codewar.node.silent")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := silent.NextMsg(time.Millisecond); !errors.Is(err, nats.ErrTimeout) {
		t.Fatal(err)
	}
	began := time.Now()
	var a answer
	waitFor(t, "silence", func() bool { // until the subscription is there
		a = <-forwardTo(c, 1, "silent", one(1))
		return !errors.Is(a.err, bridge.ErrNodeGone)
	})
	if took := time.Since(began); !errors.Is(a.err, errNoReply) || took < answerLimit {
		t.Errorf("err %v after %v, want errNoReply after %v", a.err, took, answerLimit)
	}
}

func TestHolesAreNoticed(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	leader, old, node := ready(t, s, "leader"), ready(t, s, "old"), ready(t, s, "node")
	var end linkEnd
	end.serve(t, node)
	lose := func() { // what is numbered and never sent
		leader.forwarder.mu.Lock()
		leader.forwarder.sent["node"]++
		leader.forwarder.mu.Unlock()
	}

	<-forwardTo(leader, 1, "node", one(1))
	leader.Beat(1, 0)
	<-forwardTo(leader, 1, "node", one(2))
	lose()
	<-forwardTo(leader, 1, "node", one(4)) // the next forward shows it
	lose()
	leader.Beat(1, 0) // or the beat
	waitFor(t, "the beat's resync", func() bool { return end.count("resync") == 3 })
	<-forwardTo(leader, 1, "node", one(6))
	<-forwardTo(leader, 2, "node", one(7)) // a new term
	<-forwardTo(old, 1, "node", one(8))    // an old one is received and changes nothing
	<-forwardTo(leader, 2, "node", one(9))
	want := []string{"resync", "1 ", "2 ", "resync", "4 ", "resync", "6 ", "resync", "7 ", "8 ", "9 "}
	if diff := cmp.Diff(want, end.all()); diff != "" {
		t.Error("node was told (-want +got):\n", diff)
	}
}

// A node hears from beats how far the leader has come, and whether it goes on.
func TestBeatTellsHowFarTheLeaderIs(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	leader, old, node := ready(t, s, "leader"), ready(t, s, "old"), ready(t, s, "node")
	var end linkEnd
	end.serve(t, node)
	<-forwardTo(leader, 2, "node", one(1)) // both know each other
	beat := func(from *Client, term, read, want uint64) (moved time.Time) {
		t.Helper()
		waitFor(t, "the beat", func() bool {
			from.Beat(term, read)
			_ = from.nc.Flush()
			var now uint64
			now, moved = node.LeaderReads()
			return now == want
		})
		return moved
	}
	if moved := beat(leader, 2, 10, 10); !moved.IsZero() {
		t.Errorf("came further at %v, by the first beat", moved)
	}
	first := beat(leader, 2, 20, 20)
	if first.IsZero() {
		t.Error("has not come further")
	}
	beat(old, 1, 30, 20)
	if again := beat(leader, 2, 20, 20); again != first {
		t.Error("came further without having read on")
	}
}

func TestReconnectRaisesDoubt(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	node := ready(t, s, "node")
	var end linkEnd
	end.serve(t, node)
	s.Restart()
	waitFor(t, "resync", func() bool { return end.count("resync") == 1 })
	if a := <-forwardTo(node, 1, "node", one(1)); a.err != nil {
		t.Errorf("forward after a restart: %v", a.err)
	}
}

func TestCloseEndsForwards(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	c, err := Open(t.Context(), testConfig(s), "leader", discard)
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "ready", func() bool { return c.Ready() == nil })
	nc := s.Connect()
	if _, err := nc.Subscribe("bridge.codewar.node.silent", func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	ch := forwardTo(c, 1, "silent", one(1))
	if err := c.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
	if a := <-ch; !errors.Is(a.err, errClosed) {
		t.Errorf("err %v, want errClosed", a.err)
	}
	if len(ch) != 0 {
		t.Error("done was called twice")
	}
}
