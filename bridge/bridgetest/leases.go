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
	"is one at a time": func(t *testing.T, open Open) {
		at := open(t, long())
		a, b := join(t, at, "a"), join(t, at, "b")
		term := a.lead()
		equal(t, "term when renewed", a.lead(), term)
		b.notLeading()
		b.check("Resign", b.Resign(t.Context())) // not its to give up
		b.notLeading()
		a.check("Resign", a.Resign(t.Context()))
		if next := b.lead(); next <= term {
			t.Errorf("term %d after %d", next, term)
		}
		a.notLeading()
	},

	"is replaced when silent, and every change is a new term": func(t *testing.T, open Open) {
		limits := long()
		limits.LeaderLease = short
		at := open(t, limits)
		a, b := join(t, at, "a"), join(t, at, "b")
		term := a.lead()
		for _, n := range []node{b, a, a} { // the last one takes over from itself
			waitFor(t, "a new term", func() bool {
				next, err := n.Lead(t.Context())
				if errors.Is(err, bridge.ErrNotLeader) {
					return false
				}
				n.check("Lead", err)
				if next < term {
					t.Fatalf("term %d after %d", next, term)
				}
				if next == term { // renewed: let it lapse
					waitFor(t, "the term lapses", func() bool {
						return errors.Is(n.SaveCheckpoint(t.Context(), term, at0), bridge.ErrNotLeader)
					})
					return false
				}
				term = next
				return true
			})
		}
	},

	"that restarts under its name is somebody else": func(t *testing.T, open Open) {
		at := open(t, long())
		join(t, at, "a").lead()
		join(t, at, "a").notLeading()
	},

	"alone writes the checkpoint, which never goes back": func(t *testing.T, open Open) {
		at_ := open(t, long())
		a, b := join(t, at_, "a"), join(t, at_, "b")
		equal(t, "unknown", a.checkpoint(), bridge.Offset{})
		term := a.lead()
		a.check("SaveCheckpoint", a.SaveCheckpoint(t.Context(), term, at(10)))
		a.check("SaveCheckpoint", a.SaveCheckpoint(t.Context(), term, at(9)))
		equal(t, "checkpoint", b.checkpoint(), at(10))

		fenced := func(what string, n node, term uint64) {
			t.Helper()
			if err := n.SaveCheckpoint(t.Context(), term, at(99)); !errors.Is(err, bridge.ErrNotLeader) {
				t.Errorf("%s: %v", what, err)
			}
		}
		fenced("another node", b, term)
		fenced("another term", a, term+1)
		a.check("Resign", a.Resign(t.Context()))
		fenced("after resigning", a, term)
		next := b.lead()
		fenced("the leader before", a, term)
		fenced("the leader before, in the new term", a, next)
		equal(t, "checkpoint", a.checkpoint(), at(10))
		b.check("SaveCheckpoint", b.SaveCheckpoint(t.Context(), next, at(11)))
		equal(t, "checkpoint", a.checkpoint(), at(11))
	},
}

var at0 bridge.Offset

func (n node) lead() uint64 {
	n.t.Helper()
	term, err := n.Lead(n.t.Context())
	n.check("Lead", err)
	if term == 0 {
		n.t.Fatal("Lead: term 0")
	}
	return term
}

func (n node) notLeading() {
	n.t.Helper()
	if _, err := n.Lead(n.t.Context()); !errors.Is(err, bridge.ErrNotLeader) {
		n.t.Fatalf("Lead: %v, want %v", err, bridge.ErrNotLeader)
	}
}

func (n node) checkpoint() bridge.Offset {
	n.t.Helper()
	o, err := n.Checkpoint(n.t.Context())
	n.check("Checkpoint", err)
	return o
}
