package bridgetest

import (
	"errors"
	"fmt"
	"sync"
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
		equal(t, "appended", places(a.append(entry("u", 1))[0].Sockets), want)
		equal(t, "somebody else", a.located("v"), []string(nil))
	},

	"registering again makes a socket the newest": func(t *testing.T, open Open) {
		n := one(t, open, long())
		n.register(socket("u", "s1"))
		n.register(socket("u", "s2"))
		before, err := n.Locate(t.Context(), "u")
		n.check("Locate", err)
		n.register(socket("u", "s1"))
		equal(t, "sockets", n.located("u"), []string{"s2@a", "s1@a"})
		now, err := n.Locate(t.Context(), "u")
		n.check("Locate", err)
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

	"a fresh socket starts at the inbox": func(t *testing.T, open Open) {
		n := one(t, open, long())
		n.keep("u", 1, 2, 3)
		r := socket("u", "s")
		page := n.register(r)
		equal(t, "nothing taken yet", seqs(page), []uint64{1, 2, 3})
		equal(t, "from", page.From, bridge.Offset{})

		n.unregister(r, 2)
		page = n.register(r)
		equal(t, "after 2", seqs(page), []uint64{3})
		equal(t, "from", page.From, at(2))

		n.taken(given("u", 2, 3), given("v", 0, 0))
		n.taken(given("u", 0, 1))
		n.unregister(r, 0)
		page = n.register(r)
		equal(t, "never back", page, bridge.Replay{From: at(3), Last: at(3), Before: at(3), Sockets: 1})
	},

	"the delivered offset never passes what no socket was given": func(t *testing.T, open Open) {
		n := one(t, open, long())
		n.keep("u", 1, 2, 3, 4, 5)
		check := func(what string, want uint64) {
			t.Helper()
			taken, _, err := n.Marks(t.Context(), "u")
			n.check("Marks", err)
			equal(t, what, taken.Seq, want)
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

	"a replay says what comes before it": func(t *testing.T, open Open) {
		n := one(t, open, long())
		equal(t, "nothing known", n.read("u", 7, 10).Before, bridge.Offset{})
		n.keep("u", 10, 20, 30)
		for from, want := range map[uint64]uint64{10: 10, 15: 10, 29: 20, 30: 30, 40: 30} {
			r := socket("u", "s")
			r.After = after(from)
			equal(t, fmt.Sprint("registered after ", from), n.register(r).Before, at(want))
			equal(t, fmt.Sprint("read after ", from), n.read("u", from, 10).Before, at(want))
		}
	},

	"marks can be asked for": func(t *testing.T, open Open) {
		nodes := open(t, long())
		a, b := join(t, nodes, "a"), join(t, nodes, "b")
		check := func(wantTaken, wantLast bridge.Offset) {
			t.Helper()
			taken, last, err := b.Marks(t.Context(), "u")
			b.check("Marks", err)
			equal(t, "taken", taken, wantTaken)
			equal(t, "last", last, wantLast)
		}
		check(bridge.Offset{}, bridge.Offset{})
		a.keep("u", 1, 2, 3)
		check(bridge.Offset{}, at(3))
		a.taken(given("u", 0, 2))
		check(at(2), at(3))
	},

	"a resuming socket starts where it says": func(t *testing.T, open Open) {
		n := one(t, open, long())
		n.keep("u", 1, 2, 3)
		n.taken(given("u", 0, 3))
		r := socket("u", "s")
		r.After, r.Limit = after(1), 1
		page := n.register(r)
		equal(t, "first page", seqs(page), []uint64{2})
		equal(t, "more", page.More, true)
		equal(t, "next page", seqs(n.read("u", 2, 10)), []uint64{3})
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

	"a message is in the replay or its look-up finds the socket": neverMissed,
}

// neverMissed lets sockets register while messages are appended. Whatever the
// interleaving, each message that is not in a socket's replay must have found it.
func neverMissed(t *testing.T, open Open) {
	at := open(t, long())
	writer, reader := join(t, at, "w"), join(t, at, "r")
	const messages, sockets = 300, 30

	var mu sync.Mutex // guards pushed and replayed
	pushed := make(map[bridge.SocketID]map[uint64]bool)
	replayed := make(map[bridge.SocketID]map[uint64]bool)
	note := func(m map[bridge.SocketID]map[uint64]bool, s bridge.SocketID, seq uint64) {
		mu.Lock()
		defer mu.Unlock()
		if m[s] == nil {
			m[s] = make(map[uint64]bool)
		}
		m[s][seq] = true
	}

	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range uint64(messages) {
			got, err := writer.Append(t.Context(), []bridge.Entry{entry("u", i+1)})
			if err != nil {
				t.Errorf("Append: %v", err)
				return
			}
			for _, p := range got[0].Sockets {
				note(pushed, p.Socket, i+1)
			}
		}
	})
	wg.Go(func() {
		for i := range sockets {
			r := socket("u", bridge.SocketID(fmt.Sprint("s", i)))
			r.Limit = messages
			page, err := reader.Register(t.Context(), r)
			if err != nil {
				t.Errorf("Register: %v", err)
				return
			}
			for _, seq := range seqs(page) {
				note(replayed, r.Socket, seq)
			}
		}
	})
	wg.Wait()
	for i := range sockets {
		s := bridge.SocketID(fmt.Sprint("s", i))
		for seq := uint64(1); seq <= messages; seq++ {
			if pushed[s][seq] == replayed[s][seq] {
				t.Errorf("socket %s, message %d: pushed %t, replayed %t", s, seq, pushed[s][seq], replayed[s][seq])
			}
		}
	}
}
