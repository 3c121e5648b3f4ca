package bridgetest

import (
	"testing"

	"github.com/codewar/socketbridge/bridge"
)

var gapTests = map[string]func(*testing.T, Open){
	"none for offsets between a user's messages": func(t *testing.T, open Open) {
		n := one(t, open, long())
		n.keep("u", 10, 20, 30)
		for _, from := range []uint64{10, 15, 20, 29, 30, 31} {
			if page := n.read("u", from, 10); page.Gap {
				t.Errorf("after %d: a gap before %v", from, seqs(page))
			}
		}
	},

	"none when nothing is known of the user": func(t *testing.T, open Open) {
		n := one(t, open, long())
		equal(t, "page", n.read("u", 7, 10), bridge.Replay{From: at(7)})
		n.keep("u", 10) // the first message since the store came back empty
		if page := n.read("u", 7, 10); page.Gap {
			t.Errorf("gap before %v", seqs(page))
		}
	},

	"when the history was trimmed": func(t *testing.T, open Open) {
		limits := long()
		limits.MaxPerUser = 10
		n := one(t, open, limits)
		var batch []bridge.Entry
		const all = 500 // many, because a store may keep some more than it must
		for seq := range uint64(all) {
			batch = append(batch, entry("u", 10*(seq+1)))
		}
		n.append(batch...)
		page := n.read("u", 10, all)
		got := seqs(page)
		if len(got) < limits.MaxPerUser || len(got) > all-100 {
			t.Fatalf("%d messages kept of %d", len(got), all)
		}
		if !page.Gap {
			t.Errorf("no gap between 10 and %d", got[0])
		}
		if page := n.read("u", got[0]-20, 1); !page.Gap {
			t.Error("no gap one message before the first kept one")
		}
		if page := n.read("u", got[0]-10, 1); page.Gap {
			t.Error("gap right before the first kept one")
		}
	},

	"when the history has lapsed": func(t *testing.T, open Open) {
		limits := long()
		limits.HistoryTTL = short
		n := one(t, open, limits)
		n.keep("u", 1, 2)
		waitFor(t, "the history lapses", func() bool { return len(n.read("u", 0, 10).Entries) == 0 })
		equal(t, "after 1", n.read("u", 1, 10), bridge.Replay{From: at(1), Last: at(2), Before: at(2), Gap: true})
		equal(t, "after 2", n.read("u", 2, 10), bridge.Replay{From: at(2), Last: at(2), Before: at(2)})

		if got := n.append(entry("u", 2))[0]; !got.Refused {
			t.Error("a lapsed message was appended again")
		}
		n.keep("u", 3)
		if page := n.read("u", 1, 10); !page.Gap {
			t.Error("after 1: no gap before 3")
		}
		if page := n.read("u", 2, 10); page.Gap {
			t.Error("after 2: gap before 3")
		}
	},

	"never for a fresh page": func(t *testing.T, open Open) {
		limits := long()
		limits.HistoryTTL = short
		n := one(t, open, limits)
		n.keep("u", 1, 2)
		waitFor(t, "the history lapses", func() bool { return len(n.read("u", 0, 10).Entries) == 0 })
		equal(t, "inbox", n.register(socket("u", "s")), bridge.Replay{Last: at(2), Before: at(2), Sockets: 1})
		n.keep("u", 3)
		page := n.register(socket("u", "s2"))
		if page.Gap {
			t.Error("gap before 3")
		}
		equal(t, "inbox", seqs(page), []uint64{3})
	},
}

var withdrawTests = map[string]func(*testing.T, Open){
	"keeps nothing for a user who has left": func(t *testing.T, open Open) {
		n := one(t, open, long())
		r := socket("u", "s")
		n.register(r)
		n.append(entry("u", 1), only("u", 2))
		n.unregister(r, 2)
		for _, batch := range [][]bridge.Entry{{only("u", 3), only("u", 4)}, {only("u", 5)}, {only("u", 6), entry("u", 7), only("u", 8)}} {
			for i, got := range n.append(batch...) {
				e := batch[i]
				if len(got.Sockets) > 0 || got.Refused {
					t.Errorf("%v: %+v", e.Offset, got)
				}
				// A store may take a user for present once, and be wrong. Who asked is told the truth.
				if e.OnlyIfPresent && !got.Absent && !n.withdraw("u", e.Offset.Seq) {
					t.Errorf("%v stays", e.Offset)
				}
			}
		}
		page := n.read("u", 1, 10)
		equal(t, "history", seqs(page), []uint64{2, 7})
		equal(t, "after it", n.read("u", 2, 10).Gap, false)
		if page.Gap || page.Last != at(7) {
			t.Errorf("page: gap %t, last %v", page.Gap, page.Last)
		}
		n.register(r)
		got := n.append(only("u", 9))[0]
		equal(t, "back", places(got.Sockets), []string{"s@a"})
		equal(t, "history", seqs(n.read("u", 2, 10)), []uint64{7, 9})
	},

	"the last entry": func(t *testing.T, open Open) {
		n := one(t, open, long())
		n.register(socket("u", "s"))
		n.keep("u", 1)
		n.append(only("u", 2))
		if !n.withdraw("u", 2) {
			t.Fatal("not gone")
		}
		if !n.withdraw("u", 2) {
			t.Error("a second time: not gone")
		}
		equal(t, "after 1", n.read("u", 1, 10), bridge.Replay{From: at(1), Last: at(1), Before: at(1)})
		n.keep("u", 3)
		page := n.read("u", 1, 10)
		equal(t, "history", seqs(page), []uint64{3})
		equal(t, "gap", page.Gap, false)
	},

	"the only entry": func(t *testing.T, open Open) {
		n := one(t, open, long())
		n.register(socket("u", "s"))
		n.append(only("u", 1))
		equal(t, "gone", n.withdraw("u", 1), true)
		equal(t, "page", n.read("u", 0, 10), bridge.Replay{From: at(0)})
	},

	"entries in the middle, in any order": func(t *testing.T, open Open) {
		for _, order := range [][]uint64{{2, 3, 4}, {4, 3, 2}, {3, 2, 4}, {3, 4, 2}, {2, 4, 3}} {
			n := one(t, open, long())
			n.register(socket("u", "s"))
			n.keep("u", 1, 2, 3, 4)
			for _, seq := range order[:2] {
				equal(t, "gone", n.withdraw("u", seq), true)
			}
			if page := n.read("u", 1, 10); page.Gap {
				t.Errorf("order %v, two withdrawn: gap before %v", order, seqs(page))
			}
			equal(t, "gone", n.withdraw("u", order[2]), true)
			equal(t, "all withdrawn", n.read("u", 1, 10), bridge.Replay{From: at(1), Last: at(1), Before: at(1)})
			n.keep("u", 5)
			if page := n.read("u", 1, 10); page.Gap || len(page.Entries) != 1 {
				t.Errorf("order %v: gap %t before %v", order, page.Gap, seqs(page))
			}
		}
	},

	"one in the middle hides no real gap": func(t *testing.T, open Open) {
		n := one(t, open, long())
		n.register(socket("u", "s"))
		n.keep("u", 1, 2, 3, 4)
		n.withdraw("u", 3)
		equal(t, "after 1", seqs(n.read("u", 1, 10)), []uint64{2, 4})
		equal(t, "after 2", n.read("u", 2, 10).Gap, false)
	},

	"not when a socket has registered since": func(t *testing.T, open Open) {
		n := one(t, open, long())
		first := socket("u", "first")
		n.register(first)
		n.append(only("u", 1))
		second := socket("u", "second")
		equal(t, "its replay", seqs(n.register(second)), []uint64{1})
		n.unregister(second, 0) // gone again, but it may have shown the message
		equal(t, "gone", n.withdraw("u", 1), false)
		equal(t, "history", seqs(n.read("u", 0, 10)), []uint64{1})

		n.append(only("u", 2))
		equal(t, "a later one is gone", n.withdraw("u", 2), true)
	},

	"then it is read from the stream again": func(t *testing.T, open Open) {
		n := one(t, open, long())
		n.register(socket("u", "s"))
		n.keep("u", 1)
		n.append(only("u", 2))
		n.withdraw("u", 2)
		// Its sender was told "offline": whoever replays it must not bring it.
		got := n.append(only("u", 2))[0]
		if !got.Absent {
			t.Errorf("Append: %+v", got)
		}
		equal(t, "history", seqs(n.read("u", 0, 10)), []uint64{1})
	},
}
