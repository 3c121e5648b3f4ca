package bridge_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/internal/testutil/metricstest"
)

// TestDeadLetterIsRefused: a dead letter that the bus refuses does not hold the intake.
func TestDeadLetterIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		register(t, w.store, "u", "s1")
		poison := message(1, "u")
		poison.Body = []byte("{")

		w.deadLetter = func() error { return fmt.Errorf("store: %w", bridge.ErrRefused) }
		began := time.Now()
		w.term(t, []bridge.Message{poison, message(2, "u")})
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("a dead letter that is refused for good held the intake for %v", took)
		}

		// Refused for now: for a while it is tried again, and then not for each one anew.
		w.deadLetter = func() error { return fmt.Errorf("store: %w", bridge.ErrNotNow) }
		began = time.Now()
		var more []bridge.Message
		for seq := uint64(3); seq < 103; seq++ {
			m := message(seq, "u")
			m.Body = poison.Body
			more = append(more, m)
		}
		w.term(t, append(more, message(103, "u")))
		if took := time.Since(began); took < 20*time.Second || took > 40*time.Second {
			t.Errorf("dead letters that are refused for now held the intake for %v, want some 30 s", took)
		}
		if got := metricstest.Value(t, w.metrics, "bridge_dead_letters_lost_total"); got != 101 {
			t.Errorf("%v dead letters lost, want 101", got)
		}
		if w.Ledger().Balance().Outcomes[bridge.Dead] != 101 || w.outcomes()["103"] == bridge.Dead {
			t.Errorf("outcomes %v", w.outcomes())
		}

		// The bus does not answer: nothing is given up.
		silent := 40
		w.deadLetter = func() error {
			if silent--; silent >= 0 {
				return errors.New("no answer")
			}
			return nil
		}
		last := message(104, "u")
		last.Body = poison.Body
		w.term(t, []bridge.Message{last})
		if lost := metricstest.Value(t, w.metrics, "bridge_dead_letters_lost_total"); len(w.dead) != 1 || lost != 101 {
			t.Errorf("%d dead letters, %v lost; want the one that was tried until it was stored", len(w.dead), lost)
		}
	})
}
