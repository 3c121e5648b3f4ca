package subscriber

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/subscriber/natstest"
)

func TestLineage(t *testing.T) {
	now := time.UnixMilli(1000)
	var l *lineage
	if l.epoch(10) != 10 || !l.continues(10, bridge.Offset{Epoch: 10, Seq: 99}) || l.continues(10, bridge.Offset{Epoch: 9, Seq: 1}) {
		t.Error("a stream that never went back has the epoch of its creation only")
	}
	l = l.branch(10, 50, now)
	l = l.branch(10, 80, now) // at the same time: the epoch is greater all the same
	for o, want := range map[bridge.Offset]bool{
		{Epoch: 10, Seq: 50}: true, {Epoch: 10, Seq: 51}: false,
		{Epoch: 1000, Seq: 80}: true, {Epoch: 1000, Seq: 81}: false,
		{Epoch: 1001, Seq: 5000}: true, {Epoch: 1002, Seq: 1}: false,
	} {
		if got := l.continues(10, o); got != want {
			t.Errorf("%v is an offset of the stream: %v, want %v", o, got, want)
		}
	}
	back := l.branch(10, 60, now) // behind the second branch
	if want := []bridge.Offset{{Epoch: 1000, Seq: 50}, {Epoch: 1002, Seq: 60}}; !slices.Equal(back.Branches, want) {
		t.Errorf("branches %v, want %v", back.Branches, want)
	}
	if l.epoch(20) != 20 {
		t.Error("a stream that was made anew has the epochs of the one before")
	}
	if l.later(back) != back || back.later(l) != back || l.later(nil) != l || (*lineage)(nil).later(l) != l {
		t.Error("not the lineage with the greater epoch")
	}
}

// TestLineageIsBounded: of many epochs the newest are kept, and they grow with the sequence.
func TestLineageIsBounded(t *testing.T) {
	now := time.UnixMilli(1000)
	var branched *lineage
	adopted := (*lineage)(nil).adopt(500, 400, 10, now)
	moved := adopted
	for i := range uint64(2 * maxBranches) {
		branched = branched.branch(10, 10*i+10, now)
		adopted = adopted.branch(500, 10*i+20, now)
		moved = moved.adopt(2000+i, moved.epoch(moved.Created), 10*i+20, now)
	}
	for name, l := range map[string]*lineage{"branched": branched, "adopted": adopted, "moved": moved} {
		if n := len(l.Branches); n != maxBranches {
			t.Errorf("%s: %d branches are kept, want %d", name, n, maxBranches)
		}
		epochs := l.epochs(l.Created)
		if epochs[0].Seq != 0 || !slices.IsSortedFunc(epochs, func(a, b bridge.Offset) int {
			return min(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Seq, b.Seq))
		}) {
			t.Errorf("%s: epochs %v do not grow from the stream's begin", name, epochs)
		}
	}
}

// TestStreamGoesBackForTwoNodes: both readers see at once that the stream went back. They have one
// epoch, that of the lease, and the same history.
func TestStreamGoesBackForTwoNodes(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	a, b := leadsAndStandsBy(t, s)
	nodes := []*readingNode{a, b}
	both := func(what string, cond func(n *readingNode) bool) {
		t.Helper()
		for _, n := range nodes {
			waitFor(t, fmt.Sprintf("%s: %s", n.node, what), func() bool { return cond(n) })
		}
	}
	a.say(t, "u", 0, 50)
	both("50 messages", func(n *readingNode) bool { return n.index.Horizon().Seq == 50 })
	backup := t.TempDir()
	s.Swap("CODEWAR", "", backup)
	a.say(t, "u", 50, 50)
	both("100 messages", func(n *readingNode) bool { return n.index.Horizon().Seq == 100 })
	epoch := a.streams.epoch()
	s.Swap("CODEWAR", backup, t.TempDir())
	both("a new epoch", func(n *readingNode) bool { return n.streams.epoch() > epoch })
	a.say(t, "u", 1000, 3)
	both("the new messages", func(n *readingNode) bool { return n.index.Horizon().Seq == 53 })
	if now := a.streams.epoch(); now != nodes[1].streams.epoch() {
		t.Errorf("a has epoch %d, b has %d", now, nodes[1].streams.epoch())
	}
	lease, _, err := a.intake.election.lease.load(t.Context())
	if err != nil || len(lease.Lineage.Branches) != 1 || lease.Lineage.Branches[0] != (bridge.Offset{Epoch: a.streams.epoch(), Seq: 50}) {
		t.Errorf("lease %+v, %v; want one epoch behind 50", lease.Lineage, err)
	}
	for _, n := range nodes {
		if h := n.index.Horizon(); h.Epoch != a.streams.epoch() {
			t.Errorf("the index of %s is at %v, want epoch %d", n.node, h, a.streams.epoch())
		}
		if got, _ := n.payloads(t, "u"); !slices.Equal(got, append(numbered(0, 50), numbered(1000, 3)...)) {
			t.Errorf("node %s has %d messages, want 53", n.node, len(got))
		}
	}
}

// TestStreamGoesBack: the reader of a stream that was put back begins a new epoch, behind what both
// have; nothing new is taken for old, and cursors beyond the branch are told a gap.
func TestStreamGoesBack(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		more int // messages that the stream has by the time that it is looked at again
		cold bool
	}{
		"not overtaken":           {0, false},
		"overtaken":               {200, false},
		"not overtaken, new node": {0, true},
		"overtaken, new node":     {200, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := natstest.Server(t)
			a := reads(t, s, "a", 1<<20)
			waitFor(t, "a leads", a.intake.Leading)
			a.say(t, "u", 0, 50)
			waitFor(t, "a has read", func() bool { return a.index.Horizon().Seq == 50 })
			backup := t.TempDir()
			s.Swap("CODEWAR", "", backup)
			a.say(t, "u", 50, 50)
			waitFor(t, "a has handed on", func() bool {
				l, _, err := a.intake.election.lease.load(t.Context())
				return err == nil && l.Handed.Offset.Seq == 100
			})
			epoch := a.streams.epoch()
			n := a
			if tt.cold {
				a.stop()
			}
			s.Swap("CODEWAR", backup, t.TempDir())
			js, err := jetstream.New(s.Connect())
			if err != nil {
				t.Fatal(err)
			}
			for i := range tt.more {
				if _, err := js.Publish(context.Background(), "codewar.t", fmt.Appendf(nil, `{"userId":"u","n":%d}`, 1000+i)); err != nil {
					t.Fatal(err)
				}
			}
			if tt.cold {
				n = reads(t, s, "b", 1<<20)
			}
			waitFor(t, "a new epoch", func() bool { return n.streams.epoch() > epoch && n.intake.Leading() })
			n.say(t, "u", 2000, 3)
			waitFor(t, "the new messages", func() bool { return n.index.Horizon().Seq == uint64(50+tt.more+3) })
			want := append(numbered(0, 50), numbered(1000, tt.more)...)
			got, page := n.payloads(t, "u")
			if want = append(want, numbered(2000, 3)...); !slices.Equal(got, want) {
				t.Errorf("the history has %d messages, want %d", len(got), len(want))
			}
			if page.Last.Epoch != n.streams.epoch() {
				t.Errorf("the last message is %v, want one of the new epoch", page.Last)
			}
			read := func(seq uint64) (first bridge.Offset, gap bool) {
				r, err := n.history.Read(t.Context(), bridge.HistoryQuery{User: "u", After: bridge.Offset{Epoch: epoch, Seq: seq}, Limit: 1})
				if err != nil || len(r.Entries) != 1 {
					t.Fatalf("after %d: %+v, %v", seq, r, err)
				}
				return r.Entries[0].Offset, r.Gap
			}
			if tt.cold && tt.more > 0 {
				// Nothing that this node knows tells where the stream went back to.
				for _, seq := range []uint64{20, 100} {
					r, err := n.history.Read(t.Context(), bridge.HistoryQuery{User: "u", After: bridge.Offset{Epoch: epoch, Seq: seq}, Limit: 1})
					if err != nil || !r.Gap || len(r.Entries) > 0 {
						t.Errorf("after %d: %+v, %v; want a gap, and to go on with what comes next", seq, r, err)
					}
				}
				return
			}
			if first, gap := read(20); first.Seq != 21 || gap {
				t.Errorf("a cursor before the branch goes on with %v, gap %v", first, gap)
			}
			if first, gap := read(100); first.Seq != 51 || !gap {
				t.Errorf("a cursor beyond the branch goes on with %v, gap %v; want 51 and a gap", first, gap)
			}
		})
	}
}

// TestStreamIsBeingRestored: nats-server tells of the part of a stream that it has restored so far.
// No epoch begins before it has the rest, which would be handed on again, and none when nothing is missing then.
func TestStreamIsBeingRestored(t *testing.T) {
	t.Parallel()
	for name, back := range map[string]bool{"an older state": true, "the same state": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := natstest.Server(t)
			part, whole := t.TempDir(), t.TempDir()
			c := ready(t, s, "a")
			var restored sync.Once
			c.pause = func(ctx context.Context, _ time.Duration) error {
				restored.Do(func() { s.Swap("CODEWAR", whole, t.TempDir()) })
				return sleep(ctx, 100*time.Millisecond)
			}
			a := readsWith(t, c, 1<<20)
			waitFor(t, "a leads", a.intake.Leading)
			a.say(t, "u", 0, 50)
			waitFor(t, "a has read", func() bool { return a.index.Horizon().Seq == 50 })
			s.Swap("CODEWAR", "", part)
			a.say(t, "u", 50, 50)
			if back {
				s.Swap("CODEWAR", "", whole)
			}
			a.say(t, "u", 100, 50)
			waitFor(t, "a has handed on", func() bool {
				l, _, err := a.intake.election.lease.load(t.Context())
				return err == nil && l.Handed.Offset.Seq == 150
			})
			if !back {
				s.Swap("CODEWAR", "", whole)
			}
			epoch := a.streams.epoch()
			s.Swap("CODEWAR", part, t.TempDir())
			has, want := 150, epoch
			if back {
				waitFor(t, "a new epoch", func() bool { return a.streams.epoch() > epoch })
				has, want = 100, a.streams.epoch()
			}
			waitFor(t, "a leads again", func() bool { return a.Ready() == nil && a.intake.Leading() && a.intake.current.Load() })
			a.say(t, "u", 1000, 3)
			waitFor(t, "the new messages", func() bool { return a.index.Horizon().Seq == uint64(has+3) })
			got, page := a.payloads(t, "u")
			if want := append(numbered(0, has), numbered(1000, 3)...); !slices.Equal(got, want) {
				t.Errorf("the history has %d messages, want %d", len(got), len(want))
			}
			if page.Last.Epoch != want {
				t.Errorf("the last message is of epoch %d, want %d", page.Last.Epoch, want)
			}
			if begin := a.streams.state().begin; back && begin.Seq != 100 {
				t.Errorf("the epoch begins at %v, want 100", begin)
			}
		})
	}
}
