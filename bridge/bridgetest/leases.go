package bridgetest

import (
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
		a.located("u") // a's view of the nodes is now as old as it gets
		b := join(t, at, "b")
		b.register(socket("u", "s"))
		b.register(socket("v", "s"))
		equal(t, "located", a.located("u"), []string{"s@b"})

		c := join(t, at, "c")
		c.register(socket("w", "s"))
		for i, sockets := range a.locate("w", "v") {
			equal(t, "located", places(sockets), [][]string{{"s@c"}, {"s@b"}}[i])
		}
	},

	"that is silent loses its sockets until it is back": func(t *testing.T, open Open) {
		limits := long()
		limits.NodeLease = short
		at := open(t, limits)
		a, b := join(t, at, "a"), join(t, at, "b")
		r := socket("u", "s")
		b.register(r)
		waitFor(t, "b's socket is hidden", func() bool {
			a.beat()
			return len(a.located("u")) == 0
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

	"says whether it serves": func(t *testing.T, open Open) {
		at := open(t, long())
		a, b := join(t, at, "a"), join(t, at, "b")
		serving := func(n node, serves bool, want ...bridge.NodeID) {
			t.Helper()
			got, err := n.Serving(t.Context(), serves)
			n.check("Serving", err)
			equal(t, "serving", got, want)
		}
		serving(a, false)
		serving(a, true, "a")
		serving(b, true, "a", "b")
		serving(a, false, "b")
		waitFor(t, "b has not said so again", func() bool {
			got, err := a.Serving(t.Context(), false)
			a.check("Serving", err)
			return len(got) == 0
		})
	},
}
