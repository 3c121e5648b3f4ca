package store_test

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/bridge/bridgetest"
	"github.com/codewar/socketbridge/store/redistest"
)

// Leaders that follow each other and overlap, each knowing by heart where the
// histories end that it has appended to, make one history: complete, in order,
// without a gap, and each message names the one before it.
func TestLeadersOverlap(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t)
	for round := range 200 {
		seed := rand.Uint64()
		rnd := rand.New(rand.NewPCG(seed, 0))
		open := opener(t, server, bridgetest.Limits{})
		s := newOverlap(t, rnd)
		var leaders []*leader
		for _, id := range []bridge.NodeID{"a", "b", "c"} {
			l := &leader{overlap: s, Store: open(id)}
			must(t, second(l.Beat(t.Context())))
			leaders = append(leaders, l)
		}
		now, term := leaders[0], uint64(0)
		for now.at < len(s.stream) {
			checkpoint := now.at - rnd.IntN(min(now.at, 8)+1)
			now = leaders[rnd.IntN(len(leaders))]
			term++
			must(t, now.Claim(t.Context(), term))
			now.at = checkpoint
			for range 1 + rnd.IntN(6) {
				now.step()
				if rnd.IntN(2) == 0 { // one that does not lead any more reads on for a while
					leaders[rnd.IntN(len(leaders))].step()
				}
			}
		}
		s.check(now)
		if t.Failed() {
			t.Fatalf("round %d, seed %d", round, seed)
		}
	}
}

// overlap is a stream for two users.
type overlap struct {
	t      *testing.T
	rnd    *rand.Rand
	stream []bridge.Entry
	before []bridge.Offset // of each, in the stream
}

func newOverlap(t *testing.T, rnd *rand.Rand) *overlap {
	s := &overlap{t: t, rnd: rnd}
	last := make(map[bridge.UserID]bridge.Offset)
	for i := range 80 {
		e := entry([]bridge.UserID{"u", "v"}[rnd.IntN(2)], uint64(i+1), false)
		s.stream = append(s.stream, e)
		s.before = append(s.before, last[e.User])
		last[e.User] = e.Offset
	}
	return s
}

// check reads on from before each message.
func (s *overlap) check(from bridge.Store) {
	for i, e := range s.stream {
		var want []bridge.Offset
		for _, later := range s.stream[i:] {
			if later.User == e.User {
				want = append(want, later.Offset)
			}
		}
		page, err := from.Read(s.t.Context(), e.User, s.before[i], len(s.stream))
		must(s.t, err)
		var got []bridge.Offset
		for _, kept := range page.Entries {
			got = append(got, kept.Offset)
		}
		if diff := cmp.Diff(want, got); diff != "" || page.Gap {
			s.t.Errorf("%s after %v: gap %t (-want +got):\n%s", e.User, s.before[i], page.Gap, diff)
		}
	}
}

// leader reads the stream in batches of any size, and sometimes one twice.
type leader struct {
	*overlap
	bridge.Store
	at int
}

func (l *leader) step() {
	l.t.Helper()
	end := min(l.at+1+l.rnd.IntN(9), len(l.stream))
	for again := true; again && l.at < end; again = l.rnd.IntN(5) == 0 {
		got, err := l.Append(l.t.Context(), l.stream[l.at:end])
		must(l.t, err)
		for i, a := range got {
			if want := l.before[l.at+i]; a.Before != want {
				l.t.Errorf("message %d: before %v, want %v", l.at+i+1, a.Before, want)
			}
		}
	}
	l.at = end
}

// What Redis refuses for want of memory is not taken for appended.
func TestAppendWithoutMemory(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t)
	r := opener(t, server, bridgetest.Limits{})("a")
	must(t, second(r.Beat(t.Context())))
	must(t, r.Claim(t.Context(), 1))
	must(t, second(r.Append(t.Context(), []bridge.Entry{entry("u", 1, false)})))
	batch := []bridge.Entry{entry("u", 2, false), entry("v", 3, false), entry("u", 4, false)}

	server.Do("CONFIG SET maxmemory 1")
	if _, err := r.Append(t.Context(), batch); err == nil {
		t.Error("appended without memory")
	}
	server.Do("CONFIG SET maxmemory 0")
	must(t, second(r.Append(t.Context(), batch)))
	page, err := r.Read(t.Context(), "u", offset(0), 10)
	if err != nil || len(page.Entries) != 3 || page.Last != offset(4) {
		t.Errorf("Read: %+v, %v", page, err)
	}
}
