package bridgetest

import (
	"errors"
	"testing"

	"github.com/codewar/socketbridge/bridge"
)

var nodeTests = map[string]func(*testing.T, Open){
	"joins once and then renews": func(t *testing.T, open Open) {
		at := open(t, long())
		a := join(t, at, "a")
		for range 3 {
			equal(t, "rejoined", a.beat(), false)
		}
		join(t, at, "b")
		equal(t, "rejoined", a.beat(), false)
		got, err := a.Nodes(t.Context())
		a.check("Nodes", err)
		equal(t, "nodes", got, []bridge.NodeID{"a", "b"})
	},

	"registers nothing before it has joined": func(t *testing.T, open Open) {
		n := open(t, long())("a")
		if _, err := n.Register(t.Context(), socket("u", "s")); err == nil {
			t.Error("Register before Beat: no error")
		}
	},

	"that has just joined is seen at once": func(t *testing.T, open Open) {
		at := open(t, long())
		a := join(t, at, "a")
		a.append(entry("u", 1)) // a's view of the nodes is now as old as it gets
		b := join(t, at, "b")
		b.register(socket("u", "s"))
		b.register(socket("v", "s"))
		equal(t, "located", a.located("u"), []string{"s@b"})

		c := join(t, at, "c")
		c.register(socket("w", "s"))
		got := a.append(only("w", 2), entry("w", 3), only("v", 4))
		for i, want := range []string{"s@c", "s@c", "s@b"} {
			equal(t, "appended", places(got[i].Sockets), []string{want})
			if got[i].Absent || got[i].Refused {
				t.Errorf("entry %d: %+v", i, got[i])
			}
		}
		equal(t, "history", seqs(a.read("w", 0, 10)), []uint64{2, 3})
	},

	"that is silent loses its sockets until it is back": func(t *testing.T, open Open) {
		limits := long()
		limits.NodeLease = short
		at := open(t, limits)
		a, b := join(t, at, "a"), join(t, at, "b")
		r := socket("u", "s")
		b.register(r)
		seq := uint64(0)
		waitFor(t, "b's socket is hidden", func() bool {
			a.beat()
			seq++
			return a.append(only("u", seq))[0].Absent
		})
		equal(t, "located", a.located("u"), []string(nil))
		nodes, err := a.Nodes(t.Context())
		a.check("Nodes", err)
		equal(t, "nodes", nodes, []bridge.NodeID{"a"})

		waitFor(t, "b's socket is back", func() bool { // on a slow machine b may lapse again
			if b.beat() {
				b.register(r)
			}
			got := a.located("u")
			return len(got) == 1 && got[0] == "s@b"
		})
	},

	"that comes back does not revive what it had registered": func(t *testing.T, open Open) {
		limits := long()
		limits.NodeLease = short
		at := open(t, limits)
		a, b := join(t, at, "a"), join(t, at, "b")
		b.register(socket("u", "s"))
		waitFor(t, "b lapses", func() bool {
			a.beat()
			return len(a.located("u")) == 0
		})
		equal(t, "rejoined", b.beat(), true)
		equal(t, "located", a.located("u"), []string(nil))
	},

	"that starts again voids what its predecessor registered": func(t *testing.T, open Open) {
		at := open(t, long())
		a, old := join(t, at, "a"), join(t, at, "b")
		old.register(socket("u", "s1"))
		renewed := join(t, at, "b")
		equal(t, "its own view", renewed.located("u"), []string(nil))
		a.beat()
		equal(t, "the others' view, a beat later", a.located("u"), []string(nil))
		renewed.register(socket("u", "s2"))
		equal(t, "its own socket", a.located("u"), []string{"s2@b"})
	},

	"that leaves is gone with its sockets": func(t *testing.T, open Open) {
		at := open(t, long())
		a, b := join(t, at, "a"), join(t, at, "b")
		b.register(socket("u", "s"))
		b.check("Leave", b.Leave(t.Context()))
		b.check("Leave again", b.Leave(t.Context()))
		nodes, err := a.Nodes(t.Context())
		a.check("Nodes", err)
		equal(t, "nodes", nodes, []bridge.NodeID{"a"})
		equal(t, "located", a.located("u"), []string(nil))
		equal(t, "rejoined", b.beat(), true)
		equal(t, "located after the return", a.located("u"), []string(nil))
	},
}

var leaderTests = map[string]func(*testing.T, Open){
	"claims terms that only grow": func(t *testing.T, open Open) {
		at := open(t, long())
		a, b := join(t, at, "a"), join(t, at, "b")
		equal(t, "unknown", a.claimed(), uint64(0))
		a.claim(7)
		a.claim(7) // again, after an answer that was lost
		equal(t, "claimed", b.claimed(), uint64(7))
		if err := b.Claim(t.Context(), 6); !errors.Is(err, bridge.ErrNotLeader) {
			t.Errorf("a term before: %v", err)
		}
		b.claim(1_763_846_400_000_000) // microseconds of a clock, without loss of digits
		equal(t, "claimed", a.claimed(), uint64(1_763_846_400_000_000))
		if err := a.Claim(t.Context(), 1_763_846_399_999_999); !errors.Is(err, bridge.ErrNotLeader) {
			t.Errorf("a term before: %v", err)
		}
	},

	"alone writes the checkpoint, which never goes back": func(t *testing.T, open Open) {
		at_ := open(t, long())
		a, b := join(t, at_, "a"), join(t, at_, "b")
		equal(t, "unknown", a.checkpoint(), bridge.Offset{})
		a.claim(3)
		a.check("SaveCheckpoint", a.SaveCheckpoint(t.Context(), 3, at(10)))
		a.check("SaveCheckpoint", a.SaveCheckpoint(t.Context(), 3, at(9)))
		a.check("SaveCheckpoint", a.SaveCheckpoint(t.Context(), 3, at0))
		equal(t, "checkpoint", b.checkpoint(), at(10))

		fenced := func(what string, n node, term uint64) {
			t.Helper()
			if err := n.SaveCheckpoint(t.Context(), term, at(99)); !errors.Is(err, bridge.ErrNotLeader) {
				t.Errorf("%s: %v", what, err)
			}
		}
		fenced("a term that was not claimed", a, 4)
		b.claim(5)
		fenced("the leader before", a, 3)
		equal(t, "checkpoint", a.checkpoint(), at(10))
		b.check("SaveCheckpoint", b.SaveCheckpoint(t.Context(), 5, at(11)))
		equal(t, "checkpoint", a.checkpoint(), at(11))
	},
}

var at0 bridge.Offset

func (n node) claim(term uint64) {
	n.t.Helper()
	n.check("Claim", n.Claim(n.t.Context(), term))
}

func (n node) claimed() uint64 {
	n.t.Helper()
	term, _, err := n.Checkpoint(n.t.Context())
	n.check("Checkpoint", err)
	return term
}

func (n node) checkpoint() bridge.Offset {
	n.t.Helper()
	_, o, err := n.Checkpoint(n.t.Context())
	n.check("Checkpoint", err)
	return o
}
