package bridgetest

import (
	"errors"
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
	"traces end with the history": func(t *testing.T, open Open) {
		limits := long()
		limits.HistoryTTL = short
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
	var blocks []bridge.TraceBlock
	for _, seq := range seqs {
		blocks = append(blocks, bridge.NewTraceBlock(bridge.Trace{Offset: at(seq), Read: time.Now(), Settled: time.Now(), Outcome: bridge.Pushed}))
	}
	n.check("SaveTraces", n.SaveTraces(n.t.Context(), blocks))
}

func (n node) noTrace(seq uint64) {
	n.t.Helper()
	if _, err := n.Trace(n.t.Context(), at(seq)); !errors.Is(err, bridge.ErrNoTrace) {
		n.t.Errorf("message %d: %v, want no trace", seq, err)
	}
}
