package bridgetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

var traceTests = map[string]func(*testing.T, Open){
	"a trace is found on every node": func(t *testing.T, open Open) {
		nodes := open(t, long())
		a, b := join(t, nodes, "a"), join(t, nodes, "b")
		a.trace(1, 2, 600)
		for _, seq := range []uint64{1, 2, 600} {
			got, err := b.Trace(t.Context(), at(seq))
			b.check("Trace", err)
			equal(t, "outcome", got.Outcome, bridge.Pushed)
			equal(t, "offset", got.Offset, at(seq))
		}
		b.noTrace(3)
	},
	"a later trace replaces an earlier one": func(t *testing.T, open Open) {
		n := one(t, open, long())
		n.trace(1)
		n.check("SaveTraces", n.SaveTraces(t.Context(), []bridge.TraceBlock{
			bridge.NewTraceBlock(bridge.Trace{Offset: at(1), Outcome: bridge.Dead}),
		}))
		got, err := n.Trace(t.Context(), at(1))
		n.check("Trace", err)
		equal(t, "outcome", got.Outcome, bridge.Dead)
	},
	"traces end": func(t *testing.T, open Open) {
		limits := long()
		limits.TraceTTL = short
		n := one(t, open, limits)
		n.trace(1)
		waitFor(t, "the trace is gone", func() bool {
			_, err := n.Trace(t.Context(), at(1))
			return errors.Is(err, bridge.ErrNoTrace)
		})
	},
	"traces are bounded": func(t *testing.T, open Open) {
		limits := long()
		limits.MaxTraces = 1000
		n := one(t, open, limits)
		for seq := uint64(1); seq <= 5000; seq += 100 {
			n.trace(seq)
		}
		n.noTrace(1)
		_, err := n.Trace(t.Context(), at(4901))
		n.check("Trace", err)
	},
	"a user's traces are found, newest first": func(t *testing.T, open Open) {
		nodes := open(t, long())
		a, b := join(t, nodes, "a"), join(t, nodes, "b")
		var others []uint64
		for seq := uint64(1); seq <= 60*512; seq += 100 { // about as many blocks as two windows have, without a hole
			others = append(others, seq)
		}
		a.traceOf("others", others...)
		a.traceOf("u1", 5, 700, 30_000)
		a.traceOf("u", 9)
		for _, tt := range []struct {
			user bridge.UserID
			from uint64
			want []uint64
		}{
			{"u1", 30_719, []uint64{30_000, 700, 5}},
			{"u1", 29_000, []uint64{700, 5}},
			{"u", 30_719, []uint64{9}},
			{"nobody", 30_719, nil},
		} {
			var got []uint64
			calls := 0
			for from := at(tt.from); !from.IsZero(); calls++ {
				found, next, err := b.TracesOf(t.Context(), tt.user, from)
				b.check("TracesOf", err)
				for _, trace := range found {
					equal(t, "user", trace.User, tt.user)
					got = append(got, trace.Offset.Seq)
				}
				if !next.IsZero() && !from.After(next) {
					t.Fatalf("looks on at %v after %v", next, from)
				}
				from = next
			}
			equal(t, fmt.Sprintf("messages of %s", tt.user), got, tt.want)
			if calls < 2 || calls > 3 {
				t.Errorf("%d calls, want windows", calls)
			}
		}
	},
	"a user's later trace replaces an earlier one": func(t *testing.T, open Open) {
		n := one(t, open, long())
		n.traceOf("u", 1)
		n.check("SaveTraces", n.SaveTraces(t.Context(), []bridge.TraceBlock{
			bridge.NewTraceBlock(bridge.Trace{Offset: at(1), User: "u", Outcome: bridge.Duplicate}),
		}))
		found, next, err := n.TracesOf(t.Context(), "u", at(1))
		n.check("TracesOf", err)
		if len(found) != 1 || found[0].Outcome != bridge.Duplicate || !next.IsZero() {
			t.Errorf("found %+v, next %v", found, next)
		}
	},
	"no traces, no end": func(t *testing.T, open Open) {
		n := one(t, open, long())
		found, next, err := n.TracesOf(t.Context(), "u", at(1_000_000))
		n.check("TracesOf", err)
		if found != nil || !next.IsZero() {
			t.Errorf("found %+v, next %v", found, next)
		}
	},
	"another epoch is another message": func(t *testing.T, open Open) {
		n := one(t, open, long())
		n.trace(1)
		if _, err := n.Trace(t.Context(), bridge.Offset{Epoch: epoch + 1, Seq: 1}); !errors.Is(err, bridge.ErrNoTrace) {
			t.Errorf("got %v, want no trace", err)
		}
	},
}

// trace saves traces of messages that were pushed.
func (n node) trace(seqs ...uint64) {
	n.t.Helper()
	n.traceOf("", seqs...)
}

// traceOf does the same with messages of a user.
func (n node) traceOf(user bridge.UserID, seqs ...uint64) {
	n.t.Helper()
	var blocks []bridge.TraceBlock
	for _, seq := range seqs {
		blocks = append(blocks, bridge.NewTraceBlock(bridge.Trace{Offset: at(seq), User: user, Read: time.Now(), Settled: time.Now(), Outcome: bridge.Pushed}))
	}
	n.check("SaveTraces", n.SaveTraces(n.t.Context(), blocks))
}

func (n node) noTrace(seq uint64) {
	n.t.Helper()
	if _, err := n.Trace(n.t.Context(), at(seq)); !errors.Is(err, bridge.ErrNoTrace) {
		n.t.Errorf("message %d: %v, want no trace", seq, err)
	}
}
