package bridge_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codewar/socketbridge/bridge"
)

// model is an index that is slow and obvious: a list of everything that was ever appended.
type model struct {
	max    int
	ttl    time.Duration
	began  time.Time // the last epoch
	least  uint64
	end    uint64
	epochs []bridge.Offset // where each begins
	all    []*modelMessage
}

type modelMessage struct {
	bridge.Envelope
	withdrawn, left, read bool
	open                  bool // its withdrawal is not recorded yet
}

// of returns the user's messages after a sequence that were not withdrawn.
func (m *model) of(user bridge.UserID, after uint64) (all []*modelMessage) {
	for _, e := range m.all {
		if e.User == user && e.Offset.Seq > after && !e.withdrawn {
			all = append(all, e)
		}
	}
	return all
}

func (m *model) append(e *bridge.Envelope) {
	m.all = append(m.all, &modelMessage{Envelope: *e})
	m.end = e.Offset.Seq
	m.trim(e.User)
}

func (m *model) trim(user bridge.UserID) {
	var kept []*modelMessage
	for _, e := range m.of(user, 0) {
		if !e.left {
			kept = append(kept, e)
		}
	}
	for len(kept) > m.max {
		kept[0].left = true
		kept = kept[1:]
	}
}

// expire drops what was stored at, or before, a moment.
func (m *model) expire(at time.Time) {
	for _, e := range m.all {
		e.left = e.left || !e.Stored.After(at)
	}
}

// place is the sequence from which a cursor goes on, and whether the stream has left it behind.
func (m *model) place(o bridge.Offset, inbox bool) (uint64, bool) {
	for i, b := range m.epochs {
		if b.Epoch == o.Epoch {
			if i+1 < len(m.epochs) && o.Seq > m.epochs[i+1].Seq {
				return m.epochs[i+1].Seq, true
			}
			return o.Seq, false
		}
	}
	if inbox {
		return 0, false
	}
	return m.end, true
}

func (m *model) read(q bridge.HistoryQuery) (want []bridge.Envelope, gap, more bool) {
	after, lost := m.place(q.After, q.Inbox)
	gap = lost || after < m.least
	for _, e := range m.of(q.User, after) {
		switch {
		case e.left:
			gap = true
		case len(want) == q.Limit:
			more = true
		default:
			want = append(want, bridge.Envelope{User: e.User, Topic: e.Topic, Payload: e.Payload, Offset: e.Offset})
			e.read = e.read || !q.Peek
		}
	}
	if q.Inbox {
		last := m.epochs[len(m.epochs)-1]
		gap = !m.began.IsZero() && q.After.Epoch < last.Epoch && time.Since(m.began) < m.ttl
	}
	return want, gap, more
}

// withdraw follows the rule of the index: what a socket may have read stays, and so does every
// message of the user before it.
func (m *model) withdraw(o bridge.Offset) bool {
	for i := len(m.all) - 1; i >= 0; i-- {
		e := m.all[i]
		if e.Offset != o {
			continue
		}
		for _, later := range m.all[i:] {
			if later.User == e.User && later.read {
				return false
			}
		}
		e.open = true
	}
	return true
}

// decide ends every withdrawal of a user.
func (m *model) decide(user bridge.UserID, x *bridge.Index, recorded bool) {
	for _, e := range m.all {
		if e.User != user || !e.open {
			continue
		}
		if e.open, e.withdrawn = false, recorded && !e.left; recorded {
			x.Withdrawn(e.Offset)
		} else {
			x.NotWithdrawn(e.Offset)
		}
	}
}

// undecided reports whether a withdrawal of a user's messages is not recorded yet.
func (m *model) undecided(user bridge.UserID) bool {
	return slices.ContainsFunc(m.all, func(e *modelMessage) bool { return e.User == user && e.open })
}

func (m *model) branch(o bridge.Offset) {
	kept := m.all[:0:0]
	read := make(map[bridge.UserID]bool) // something behind what is kept
	for _, e := range m.all {
		if e.Offset.Seq <= o.Seq {
			kept = append(kept, e)
		} else {
			read[e.User] = read[e.User] || e.read
		}
	}
	for _, e := range kept {
		e.read = e.read || read[e.User]
	}
	m.all, m.end = kept, min(m.end, o.Seq)
	for len(m.epochs) > 0 && m.epochs[len(m.epochs)-1].Seq > o.Seq {
		m.epochs = m.epochs[:len(m.epochs)-1]
	}
	m.epochs = append(m.epochs, o)
	m.began = time.Now()
}

// TestIndex holds the index against the model, in thousands of random steps, with payloads that
// leave memory, logs that are cut, messages that lapse and streams that go back.
func TestIndex(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) { indexRound(t, seed) })
	}
}

func indexRound(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	const ttl = time.Minute
	cfg := bridge.IndexConfig{TTL: ttl, MaxPerUser: 1 + rnd.IntN(12), MaxMemory: 1 << 20}
	start := uint64(rnd.IntN(2) * rnd.IntN(50))
	x := bridge.NewIndex(cfg)
	x.Begin(bridge.Offset{Epoch: 10, Seq: start})
	m := &model{ttl: ttl, max: cfg.MaxPerUser, least: start, end: start, epochs: []bridge.Offset{{Epoch: 10}}}
	branched := false
	for step := range 200 {
		epoch := m.epochs[len(m.epochs)-1].Epoch
		user := bridge.UserID(fmt.Sprint("u", rnd.IntN(4)))
		switch n := rnd.IntN(100); {
		case n < 50:
			var batch []*bridge.Envelope
			first := m.end + 1 + uint64(rnd.IntN(3)) // some are in no log
			again := rnd.IntN(4) == 0 && len(m.all) > 0
			for i := range uint64(1 + rnd.IntN(5)) {
				e := &bridge.Envelope{User: bridge.UserID(fmt.Sprint("u", rnd.IntN(4))), Topic: "t", Payload: fmt.Appendf(nil, `{"n":%d}`, first+i), Stored: time.Now()}
				e.Offset = bridge.Offset{Epoch: epoch, Seq: first + i}
				batch = append(batch, e)
			}
			var wants []bridge.Offset
			for _, e := range batch {
				var before bridge.Offset
				for _, b := range m.of(e.User, m.least) {
					before = b.Offset
				}
				wants = append(wants, before)
				m.append(e)
			}
			for i, got := range x.Append(batch) {
				if got.Before != wants[i] && !branched || got.Withdrawn {
					t.Fatalf("seed %d step %d: %v of %s is after %v, want %v", seed, step, batch[i].Offset, batch[i].User, got, wants[i])
				}
			}
			if again {
				x.Append(batch) // as a leader does that begins behind another
			}
		case n < 65:
			if len(m.all) > 0 {
				e := m.all[max(0, len(m.all)-1-rnd.IntN(6))]
				if e.withdrawn || e.open || e.left {
					break
				}
				if got, want := x.Withdraw(e.Offset), m.withdraw(e.Offset); got != want {
					t.Fatalf("seed %d step %d: withdraw %v: %v, want %v", seed, step, e.Offset, got, want)
				}
			}
		case n < 70:
			time.Sleep(time.Duration(rnd.Int64N(int64(ttl))))
		case n < 72 && m.end > m.least:
			o := bridge.Offset{Epoch: epoch + 1 + uint64(rnd.IntN(3)), Seq: m.least + rnd.Uint64N(m.end-m.least+1)}
			x.Branch(o)
			for _, e := range m.all { // what has gone arrives never, and messages in its place do
				if e.Offset.Seq > o.Seq {
					if !x.Withdraw(e.Offset) {
						t.Fatalf("seed %d step %d: %v has gone, and a socket may have read it", seed, step, e.Offset)
					}
					x.Withdrawn(e.Offset)
				}
			}
			m.branch(o)
			branched = true
		case n == 72: // another stream, which has used some of the sequences as well
			o := bridge.Offset{Epoch: epoch + 1, Seq: rnd.Uint64N(m.end + 1)}
			if !x.Begin(o) {
				t.Fatalf("seed %d step %d: an index of another epoch has not begun anew", seed, step)
			}
			if at := x.Newest(); at != (bridge.StoredMessage{}) {
				t.Fatalf("seed %d step %d: a new index remembers %v", seed, step, at)
			}
			m.all, m.least, m.end, m.epochs = nil, o.Seq, o.Seq, []bridge.Offset{{Epoch: o.Epoch}}
		case n < 80:
			m.expire(time.Now().Add(-ttl))
			x.Read(bridge.HistoryQuery{Peek: true}) // drops the same ones
			m.decide(user, x, rnd.IntN(3) > 0)
		default:
			q := bridge.HistoryQuery{User: user, Limit: rnd.IntN(8), Peek: rnd.IntN(2) == 0, Inbox: rnd.IntN(3) == 0}
			q.After = bridge.Offset{Epoch: 10 + rnd.Uint64N(epoch-10+1), Seq: rnd.Uint64N(m.end + 1)}
			m.expire(time.Now().Add(-ttl))
			r := x.Read(q)
			if undecided := !q.Peek && m.undecided(user); undecided || r.Undecided {
				if !undecided || !r.Undecided {
					t.Fatalf("seed %d step %d: read %+v: undecided %v, want %v", seed, step, q, r.Undecided, undecided)
				}
				break
			}
			want, gap, more := m.read(q)
			var got []bridge.Envelope
			for _, e := range r.Entries {
				got = append(got, *e)
			}
			if diff := cmp.Diff(want, got); diff != "" || r.More != more {
				t.Fatalf("seed %d step %d: read %+v (-want +got), more %v:\n%s", seed, step, q, r.More, diff)
			}
			if r.Gap != gap && !(r.Gap && branched) { // after a branch the index may tell one too many
				t.Fatalf("seed %d step %d: read %+v: gap %v, want %v", seed, step, q, r.Gap, gap)
			}
		}
	}
}

// TestIndexMemory: payloads leave memory first, then messages, and both are counted.
func TestIndexMemory(t *testing.T) {
	t.Parallel()
	x := bridge.NewIndex(bridge.IndexConfig{TTL: time.Hour, MaxPerUser: 10_000, MaxMemory: 100_000})
	x.Begin(at(0))
	add := func(from, to uint64) {
		for seq := from; seq <= to; seq++ {
			e := &bridge.Envelope{User: "u", Topic: "t", Payload: make([]byte, 1000), Offset: at(seq), Stored: time.Now()}
			x.Append([]*bridge.Envelope{e})
		}
	}
	add(1, 500)
	q := bridge.HistoryQuery{User: "u", Limit: 10_000}
	r := x.Read(q)
	loaded := 0
	for _, e := range r.Entries {
		if e.Topic != "" {
			loaded++
		}
	}
	if len(r.Entries) != 500 || r.Gap || loaded == 0 || loaded > 100 || r.Entries[499].Topic == "" {
		t.Errorf("%d messages, %d with their payload, gap %v", len(r.Entries), loaded, r.Gap)
	}
	if s := x.Stats(); s.Bytes > 100_000 || s.Unloaded != uint64(500-loaded) || s.Evicted != 0 {
		t.Errorf("%+v", s)
	}
	add(501, 5000)
	r = x.Read(q)
	if n := len(r.Entries); n < 500 || n > 2000 || !r.Gap || r.Entries[0].Offset != at(uint64(5001-n)) {
		t.Errorf("%d messages from %v, gap %v", n, r.Entries[0].Offset, r.Gap)
	}
	if s := x.Stats(); s.Bytes > 100_000 || s.Evicted == 0 || s.Messages != len(r.Entries) {
		t.Errorf("%+v", s)
	}
}

// TestIndexOfAnotherReader: what another reader has withdrawn is in no log, whether it is known
// here already or comes later.
func TestIndexOfAnotherReader(t *testing.T) {
	t.Parallel()
	x := bridge.NewIndex(bridge.IndexConfig{TTL: time.Hour, MaxPerUser: 100, MaxMemory: 1 << 20})
	x.Begin(at(0))
	entry := func(seq uint64) []*bridge.Envelope {
		return []*bridge.Envelope{{User: "u", Topic: "t", Offset: at(seq), Stored: time.Now()}}
	}
	x.Append(entry(1))
	x.Append(entry(2))
	x.Withdrawn(at(2), at(3), bridge.Offset{Epoch: 6, Seq: 1})
	if got := x.Append(entry(3)); !got[0].Withdrawn {
		t.Error("a message that was withdrawn is appended")
	}
	if got := x.Append(entry(4)); got[0].Before != at(1) {
		t.Errorf("the message after it names %v as the one before it", got[0].Before)
	}
	r := x.Read(bridge.HistoryQuery{User: "u", Limit: 10})
	var got []uint64
	for _, e := range r.Entries {
		got = append(got, e.Offset.Seq)
	}
	if diff := cmp.Diff([]uint64{1, 4}, got); diff != "" || r.Gap {
		t.Errorf("gap %v, log (-want +got):\n%s", r.Gap, diff)
	}
}

// TestIndexLoses: what left the stream before it was read may have been for any user.
func TestIndexLoses(t *testing.T) {
	t.Parallel()
	x := bridge.NewIndex(bridge.IndexConfig{TTL: time.Hour, MaxPerUser: 100, MaxMemory: 1 << 20})
	x.Begin(at(0))
	for _, seq := range []uint64{1, 9} {
		x.Append([]*bridge.Envelope{{User: "u", Topic: "t", Offset: at(seq), Stored: time.Now()}})
		if seq == 1 {
			x.Lose(at(8))
		}
	}
	for _, tt := range []struct {
		user  bridge.UserID
		after uint64
		inbox bool
		gap   bool
	}{{"u", 1, false, true}, {"u", 8, false, false}, {"u", 9, false, false}, {"v", 1, false, true}, {"v", 9, false, false}, {"u", 1, true, false}} {
		if r := x.Read(bridge.HistoryQuery{User: tt.user, After: at(tt.after), Inbox: tt.inbox, Limit: 10}); r.Gap != tt.gap {
			t.Errorf("%+v: gap %v", tt, r.Gap)
		}
	}
}
