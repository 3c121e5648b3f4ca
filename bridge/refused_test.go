package bridge_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codewar/socketbridge/bridge"
)

// TestStoreRefusesOneUser: what the store refuses for good ends that message as a dead letter.
// The others of its batch are delivered, in order.
func TestStoreRefusesOneUser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.failing.refuses = map[bridge.UserID]bool{"bad": true}
	register(t, w.store, "good", "s1")
	register(t, w.away, "there", "s2")
	var batch []bridge.Message
	want := make(map[string]bridge.Outcome)
	var pushed, forwarded []bridge.Offset
	for seq := uint64(1); seq <= 40; seq++ {
		user, outcome := "good", bridge.Pushed
		switch {
		case seq == 1 || seq == 17 || seq == 18 || seq == 40:
			user, outcome = "bad", bridge.Dead
		case seq%3 == 0:
			user = "there"
			forwarded = append(forwarded, at(seq))
		default:
			pushed = append(pushed, at(seq))
		}
		batch = append(batch, message(seq, user))
		want[fmt.Sprint(seq)] = outcome
	}
	w.term(t, batch, []bridge.Message{message(41, "good")})
	want["41"], pushed = bridge.Pushed, append(pushed, at(41))
	if diff := cmp.Diff(want, w.outcomes()); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if !slices.Equal(w.pushed, pushed) || !slices.Equal(w.forwards, forwarded) {
		t.Errorf("pushed %v, forwarded %v", w.pushed, w.forwards)
	}
	if got := slices.Repeat([]string{bridge.CodeStoreRefused}, 4); !slices.Equal(w.dead, got) {
		t.Errorf("dead letters %q", w.dead)
	}
	if code := w.receipts["17"].Code; code != bridge.CodeStoreRefused {
		t.Errorf("receipt has the code %q", code)
	}
}

// TestDeadLetterIsRefused: a dead letter that the bus refuses does not hold the intake.
func TestDeadLetterIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		register(t, w.store, "u", "s1")
		poison := message(1, "u")
		poison.Body = []byte("{")

		w.bury = func() error { return fmt.Errorf("store: %w", bridge.ErrRefused) }
		began := time.Now()
		w.term(t, []bridge.Message{poison, message(2, "u")})
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("a dead letter that is refused for good held the intake for %v", took)
		}

		// Refused for now: for a while it is tried again, and then not for each one anew.
		w.bury = func() error { return fmt.Errorf("store: %w", bridge.ErrNotNow) }
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
		if got := w.Stats().DeadLost; got != 101 {
			t.Errorf("%d dead letters lost, want 101", got)
		}
		if w.Ledger().Balance().Outcomes[bridge.Dead] != 101 || w.outcomes()["103"] == bridge.Dead {
			t.Errorf("outcomes %v", w.outcomes())
		}

		// The bus does not answer: nothing is given up.
		silent := 40
		w.bury = func() error {
			if silent--; silent >= 0 {
				return errors.New("no answer")
			}
			return nil
		}
		last := message(104, "u")
		last.Body = poison.Body
		w.term(t, []bridge.Message{last})
		if len(w.dead) != 1 || w.Stats().DeadLost != 101 {
			t.Errorf("%d dead letters, %d lost; want the one that was tried until it was stored", len(w.dead), w.Stats().DeadLost)
		}
	})
}
