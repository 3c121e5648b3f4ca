package bridgetest

import (
	"testing"

	"github.com/codewar/socketbridge/bridge"
)

var logTests = map[string]func(*testing.T, Open){
	"what was appended is read back as it was": func(t *testing.T, open Open) {
		n := one(t, open, long())
		want := entry("u", 1)
		n.append(want)
		got := n.read("u", 0, 10)
		equal(t, "page", got, bridge.Replay{Entries: []*bridge.Envelope{want.Envelope}, From: at(0), Last: at(1)})
	},

	"an offset that is not after the last one is refused": func(t *testing.T, open Open) {
		n := one(t, open, long())
		n.keep("u", 1, 5)
		n.register(socket("u", "s"))
		for _, seq := range []uint64{5, 4, 1} {
			got := n.append(entry("u", seq))[0]
			if !got.Refused || got.Absent {
				t.Errorf("Append %d again: %+v", seq, got)
			}
			equal(t, "sockets of a refused entry", places(got.Sockets), []string{"s@a"})
		}
		equal(t, "history", seqs(n.read("u", 0, 10)), []uint64{1, 5})
	},

	"the same batch again appends what was missing and nothing twice": func(t *testing.T, open Open) {
		n := one(t, open, long())
		batch := []bridge.Entry{entry("u", 1), entry("v", 2), entry("u", 3), entry("w", 4)}
		n.append(batch[:2]...) // as far as a first try came
		var refused []bool
		for _, a := range n.append(batch...) {
			refused = append(refused, a.Refused)
		}
		equal(t, "refused", refused, []bool{true, true, false, false})
		equal(t, "history", seqs(n.read("u", 0, 10)), []uint64{1, 3})
	},

	"a new stream has a later epoch and its small sequences are appended": func(t *testing.T, open Open) {
		n := one(t, open, long())
		n.keep("u", 999)
		e := entry("u", 1)
		e.Offset.Epoch++
		if got := n.append(e)[0]; got.Refused {
			t.Errorf("first message of the new stream: %+v", got)
		}
		equal(t, "history", seqs(n.read("u", 0, 10)), []uint64{999, 1})
	},

	"offsets are compared as numbers of 64 bits": func(t *testing.T, open Open) {
		n := one(t, open, long())
		const big = 1 << 63
		n.keep("u", 9, 10, big+1, big+2)
		if got := n.append(entry("u", big+1))[0]; !got.Refused {
			t.Errorf("Append of the last but one: %+v", got)
		}
		equal(t, "after the first big one", seqs(n.read("u", big+1, 10)), []uint64{big + 2})
	},

	"an offset beyond everything reads as the end": func(t *testing.T, open Open) {
		n := one(t, open, long())
		n.keep("u", 1)
		o := bridge.Offset{Epoch: 1<<64 - 1, Seq: 1<<64 - 1}
		got, err := n.Read(t.Context(), "u", o, 10)
		n.check("Read", err)
		equal(t, "page", got, bridge.Replay{From: o, Last: at(1), Before: at(1)})
	},

	"append names the message before": func(t *testing.T, open Open) {
		n := one(t, open, long())
		befores := func(entries ...bridge.Entry) (got []bridge.Offset) {
			for _, a := range n.append(entries...) {
				got = append(got, a.Before)
			}
			return got
		}
		equal(t, "in one batch", befores(entry("u", 1), entry("v", 2), only("u", 3), entry("u", 4)), []bridge.Offset{{}, {}, {}, at(1)})
		equal(t, "in the next", befores(entry("u", 5), entry("v", 6)), []bridge.Offset{at(4), at(2)})
		equal(t, "appended again", befores(entry("u", 4), entry("u", 5), entry("u", 7)), []bridge.Offset{at(1), at(4), at(5)})
	},

	"only if present appends nothing for an absent user": func(t *testing.T, open Open) {
		n := one(t, open, long())
		got := n.append(only("u", 1), entry("v", 2))
		equal(t, "results", got, []bridge.Appended{{Absent: true}, {}})
		equal(t, "history", n.read("u", 0, 10), bridge.Replay{From: at(0)})

		n.register(socket("u", "s"))
		if got := n.append(only("u", 3))[0]; got.Absent || got.Refused {
			t.Errorf("with a socket: %+v", got)
		}
		equal(t, "history", seqs(n.read("u", 0, 10)), []uint64{3})
	},

	"one batch may mix both kinds for one user": func(t *testing.T, open Open) {
		n := one(t, open, long())
		got := n.append(only("u", 1), entry("u", 2), only("u", 3))
		equal(t, "results", got, []bridge.Appended{{Absent: true}, {}, {Absent: true}})
		page := n.read("u", 0, 10)
		equal(t, "history", seqs(page), []uint64{2})
		if page.Gap || page.Last != at(2) {
			t.Errorf("page: gap %t, last %v", page.Gap, page.Last)
		}
	},

	"pages end at the limit and say whether there is more": func(t *testing.T, open Open) {
		n := one(t, open, long())
		n.keep("u", 1, 2, 3, 4, 5)
		page := n.read("u", 0, 2)
		equal(t, "first", seqs(page), []uint64{1, 2})
		equal(t, "more", page.More, true)
		page = n.read("u", 3, 2)
		equal(t, "last", seqs(page), []uint64{4, 5})
		equal(t, "more", page.More, false)
		page = n.read("u", 3, 0)
		equal(t, "an empty page", page, bridge.Replay{From: at(3), Last: at(5), Before: at(3), More: true})
	},

	"users with odd names do not meet": func(t *testing.T, open Open) {
		n := one(t, open, long())
		for i, user := range oddUsers {
			seq := uint64(i + 1)
			n.register(socket(user, bridge.SocketID("s-"+user)))
			n.keep(user, seq)
			n.taken(given(user, 0, seq))
		}
		for i, user := range oddUsers {
			equal(t, "history of "+string(user), seqs(n.read(user, 0, 10)), []uint64{uint64(i + 1)})
			equal(t, "sockets of "+string(user), n.located(user), []string{"s-" + string(user) + "@a"})
		}
	},
}

var oddUsers = []bridge.UserID{
	"{}", "{", "}", "}x", "{x}", "x", "*", "a b", "%", "%7B", "%7B%7D", "%257B", "a:b", "a|b", "?[x]", "\\", "日本語", "é", "e\u0301", "cluster",
}
