package bridgetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

var registryTests = map[string]func(*testing.T, Open){
	"sockets are found on every node, oldest first": func(t *testing.T, open Open) {
		at := open(t, long())
		a, b := join(t, at, "a"), join(t, at, "b")
		var want []string
		for i := range 20 {
			n, id := a, "a"
			if i%2 == 1 {
				n, id = b, "b"
			}
			s := fmt.Sprintf("s%d", 20-i)
			n.register(socket("u", bridge.SocketID(s)))
			want = append(want, s+"@"+id)
		}
		equal(t, "from a", a.located("u"), want)
		equal(t, "from b", b.located("u"), want)
		equal(t, "somebody else", a.located("v"), []string(nil))
	},

	"registering again makes a socket the newest": func(t *testing.T, open Open) {
		n := one(t, open, long())
		n.register(socket("u", "s1"))
		n.register(socket("u", "s2"))
		before := n.locate("u")[0]
		n.register(socket("u", "s1"))
		equal(t, "sockets", n.located("u"), []string{"s2@a", "s1@a"})
		now := n.locate("u")[0]
		if !now[1].Since.After(before[1].Since) || time.Since(now[1].Since).Abs() > time.Minute {
			t.Errorf("since: %v, then %v", before, now)
		}
	},

	"a registration tells how many there are": func(t *testing.T, open Open) {
		at := open(t, long())
		a, b := join(t, at, "a"), join(t, at, "b")
		equal(t, "the first", a.register(socket("u", "s1")).Sockets, 1)
		equal(t, "on another node", b.register(socket("u", "s2")).Sockets, 2)
		equal(t, "again", a.register(socket("u", "s1")).Sockets, 2)
		equal(t, "somebody else's", a.register(socket("v", "s3")).Sockets, 1)
		b.unregister(socket("u", "s2"), 0)
		equal(t, "when one has left", a.register(socket("u", "s1")).Sockets, 1)
	},

	"the end of an old registration leaves the new one": func(t *testing.T, open Open) {
		at := open(t, long())
		a, b := join(t, at, "a"), join(t, at, "b")
		old := socket("u", "s")
		a.register(old)
		renewed := old
		renewed.Token = "t2"
		a.register(renewed)
		a.unregister(old, 0)
		equal(t, "same node", b.located("u"), []string{"s@a"})
		b.register(renewed) // recovered on another node
		a.unregister(renewed, 0)
		equal(t, "other node", a.located("u"), []string{"s@b"})
		b.unregister(renewed, 0)
		equal(t, "its own end", a.located("u"), []string(nil))
	},

	"a registration tells which one of another node it has replaced": func(t *testing.T, open Open) {
		at := open(t, long())
		a, b := join(t, at, "a"), join(t, at, "b")
		r := socket("u", "s")
		r.Token = "x|1|y"
		equal(t, "the first", a.register(r).Replaced, bridge.Replaced{})
		equal(t, "on the same node", a.register(r).Replaced, bridge.Replaced{})
		equal(t, "of another socket", b.register(socket("u", "other")).Replaced, bridge.Replaced{})
		equal(t, "on another node", b.register(socket("u", "s")).Replaced, bridge.Replaced{Node: "a", User: "u", Socket: "s", Token: r.Token})
		b.unregister(socket("u", "s"), 0)
		equal(t, "when it has left", a.register(r).Replaced, bridge.Replaced{})
	},

	"a token may be any text": func(t *testing.T, open Open) {
		n := one(t, open, long())
		for _, token := range []string{"", "|", "x|1|y", "t|"} {
			r := socket("u", "s")
			r.Token = token
			n.register(r)
			other := r
			other.Token = "1|" + token
			n.unregister(other, 0)
			equal(t, "other token", n.located("u"), []string{"s@a"})
			n.unregister(r, 0)
			equal(t, "own token", n.located("u"), []string(nil))
		}
	},

	"many users are located at once": func(t *testing.T, open Open) {
		nodes := open(t, long())
		a, b := join(t, nodes, "a"), join(t, nodes, "b")
		var users []bridge.UserID
		for i := range 500 {
			user := bridge.UserID(fmt.Sprint("u", i))
			users = append(users, user, "nobody")
			[]node{a, b}[i%2].register(socket(user, bridge.SocketID(fmt.Sprint("s", i))))
		}
		for i, sockets := range a.locate(users...) {
			var want []string
			if i%2 == 0 {
				want = []string{fmt.Sprintf("s%d@%s", i/2, []string{"a", "b"}[i/2%2])}
			}
			equal(t, string(users[i]), places(sockets), want)
		}
		equal(t, "the same user twice", len(a.locate("u1", "u1")[1]), 1)
		equal(t, "no user", len(a.locate()), 0)
	},

	"a registration tells how far the user has received": func(t *testing.T, open Open) {
		n := one(t, open, long())
		r := socket("u", "s")
		equal(t, "nothing known", n.register(r).Delivered, bridge.Offset{})
		n.unregister(r, 2)
		equal(t, "after 2", n.register(r).Delivered, at(2))
		n.taken(given("u", 2, 3), given("v", 0, 0))
		n.taken(given("u", 0, 1))
		n.unregister(r, 0)
		equal(t, "never back", n.register(r), bridge.Registered{Delivered: at(3), Sockets: 1})
	},

	"the delivered offset never passes what no socket was given": func(t *testing.T, open Open) {
		n := one(t, open, long())
		check := func(what string, want uint64) {
			t.Helper()
			equal(t, what, n.delivered("u"), want)
		}
		r := socket("u", "s")
		n.taken(given("u", 3, 5))
		check("a socket that began after 3", 0)
		n.check("Unregister", n.Unregister(t.Context(), r, given("u", 1, 2)))
		check("another that began after 1, at its end", 0)
		n.taken(given("u", 3, 5), given("u", 0, 3))
		check("one that began at the inbox", 3)
		n.taken(given("u", 3, 5))
		check("the first one again", 5)
		n.check("Unregister", n.Unregister(t.Context(), r, given("u", 2, 4)))
		check("an older end", 5)
	},

	"a registration saves the session": func(t *testing.T, open Open) {
		nodes := open(t, long())
		a, b := join(t, nodes, "a"), join(t, nodes, "b")
		r := socket("u", "s")
		a.register(r) // no private id: no session
		r.PID = "p"
		a.register(r)
		got, err := b.Session(t.Context(), "p")
		b.check("Session", err)
		equal(t, "fresh", got, bridge.Session{User: "u", Socket: "s"})
		if _, err := b.Session(t.Context(), ""); !errors.Is(err, bridge.ErrNoSession) {
			t.Errorf("without a private id: %v", err)
		}
	},
}
