package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codewar/socketbridge/bridge"
)

// TestJudge: the judge must see each fault that it is there for.
func TestJudge(t *testing.T) {
	t.Parallel()
	began := time.UnixMilli(1000)
	var entries []entry
	for n := range uint64(6) {
		entries = append(entries, entry{seq: n + 1, stored: began.Add(time.Duration(n) * time.Second), user: "u", n: n + 1})
	}
	entries = append(entries,
		entry{seq: 7, stored: began, user: "other", n: 7},
		entry{seq: 8, stored: began, user: "u", n: 8, drop: true},
		entry{seq: 9, stored: began, poison: true},
		entry{seq: 1, stored: began.Add(time.Minute), user: "u", n: 10}, // of a stream that was made anew
	)
	at := func(seq, n uint64) got { return got{Offset: bridge.Offset{Epoch: 1, Seq: seq}.String(), N: n} }
	anew := got{Offset: "2-1", N: 10}
	one, two, three, four, five, six := at(1, 1), at(2, 2), at(3, 3), at(4, 4), at(5, 5), at(6, 6)
	for _, tt := range []struct {
		name   string
		got    []got
		gaps   []gap
		again  []connection // beside the first one
		answer answer       // of number 8
		want   result
	}{
		{name: "all", got: []got{one, two, three, four, five, six, anew}, answer: offline, want: result{offline: 1}},
		{name: "no answer, came", got: []got{one, two, three, four, five, six, at(8, 8), anew}, answer: unsure},
		{name: "no answer, did not come", got: []got{one, two, three, four, five, six, anew}, answer: unsure, want: result{unsure: 1}},
		{name: "answered 200, did not come", got: []got{one, two, three, four, five, six, anew}, answer: stored, want: result{lost: 1}},
		{name: "answered 404, came", got: []got{one, two, three, four, five, six, at(8, 8), anew}, answer: offline, want: result{offline: 1, strays: 1}},
		{name: "lost", got: []got{one, two, four, five, six}, answer: unsure, want: result{lost: 2, unsure: 1}},
		{name: "twice", got: []got{one, two, two, three, four, five, six, one, anew}, answer: unsure, want: result{duplicates: 2, unsure: 1}},
		{name: "out of order", got: []got{one, three, two, four, five, six, anew}, answer: unsure, want: result{inversions: 1, unsure: 1}},
		{name: "epochs out of order", got: []got{anew, one, two, three, four, five, six}, answer: unsure, want: result{inversions: 6, unsure: 1}},
		{name: "under another offset", got: []got{one, two, three, four, five, six, at(8, 6), anew}, answer: unsure, want: result{strays: 1, unsure: 1}},
		{name: "offset not told", got: []got{one, two, {N: 3}, four, five, six, anew}, answer: unsure, want: result{unsure: 1}},
		{name: "twice, offset not told", got: []got{one, two, three, {N: 3}, four, five, six, anew}, answer: unsure, want: result{duplicates: 1, unsure: 1}},
		{name: "another user's", got: []got{one, two, three, four, five, six, at(7, 7), anew}, answer: unsure, want: result{strays: 1, unsure: 1}},
		{name: "poison", got: []got{one, two, three, four, five, six, at(9, 0), anew}, answer: unsure, want: result{strays: 1, unsure: 1}},
		{name: "gap told", got: []got{one, two, five, six, anew}, gaps: []gap{{Before: 2}}, answer: unsure, want: result{gaps: 1, gapped: 2, unsure: 1}},
		{name: "gap told elsewhere", got: []got{one, two, five, six, anew}, gaps: []gap{{Before: 3}}, answer: unsure, want: result{gaps: 1, lost: 2, unsure: 1}},
		{
			name: "replayed", got: []got{one, two, three, four, five, six, anew}, again: []connection{{At: 2500, First: 2}, {At: 4500, First: 2, Recovered: true}},
			answer: unsure, want: result{replayed: 2, reconnects: 2, recovered: 1, unsure: 1},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := newAccount(entries, map[uint64]answer{8: tt.answer})
			res := a.judge([]report{{User: "u", Got: tt.got, Gaps: tt.gaps, Connections: append([]connection{{}}, tt.again...)}}, time.Time{}, began)
			bad := res.duplicates+res.inversions+res.lost+res.strays > 0
			if res.failed() != bad || bad != (len(res.breaches) > 0) {
				t.Errorf("failed %t, breaches %q", res.failed(), res.breaches)
			}
			res.silence, res.silent = 0, "" // see TestSilence
			tt.want.published, tt.want.received, res.breaches = len(entries), len(tt.got), nil
			res.kinds = nil
			if diff := cmp.Diff(tt.want, *res, cmp.AllowUnexported(result{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestJudgeDead: each poison message once among the dead letters, and nothing else.
func TestJudgeDead(t *testing.T) {
	t.Parallel()
	a := newAccount([]entry{{seq: 1, poison: true}, {seq: 2, user: "u"}}, nil)
	for name, tt := range map[string]struct {
		dead map[uint64]int
		ok   bool
	}{
		"once":            {map[uint64]int{1: 1}, true},
		"none":            {nil, false},
		"twice":           {map[uint64]int{1: 2}, false},
		"a sound one too": {map[uint64]int{1: 1, 2: 1}, false},
		"another's":       {map[uint64]int{2: 1}, false},
	} {
		var res result
		if a.judgeDead(tt.dead, &res); res.failed() == tt.ok {
			t.Errorf("%s: failed %t", name, res.failed())
		}
	}
}

// TestAcknowledgedButNotStored: what a publisher was promised must be in the stream.
func TestAcknowledgedButNotStored(t *testing.T) {
	t.Parallel()
	res := newAccount(nil, map[uint64]answer{1: stored, 2: unsure, 3: offline}).judge(nil, time.Time{}, time.Now())
	if res.lost != 1 || !res.failed() {
		t.Errorf("%+v", *res)
	}
}

// TestSilence: from when the stream had something for the page, or from when it was opened, to
// the next message or the end.
func TestSilence(t *testing.T) {
	t.Parallel()
	var entries []entry
	for n := range uint64(4) { // stored at 1000, 2000, 3000 and 4000 ms
		entries = append(entries, entry{seq: n + 1, n: n + 1, user: "u", stored: time.UnixMilli(int64(n+1) * 1000)})
	}
	a := newAccount(entries, nil)
	for name, tt := range map[string]struct {
		opened int64
		at     []int64 // when messages came
		since  int64
		want   int64 // ms
	}{
		"in time":               {0, []int64{1001, 2001, 3001, 4001}, 0, 1},
		"one late":              {0, []int64{1001, 2701, 3001, 4001}, 0, 701},
		"two late":              {0, []int64{1001, 3501, 3502, 4001}, 0, 1501},
		"nothing":               {0, nil, 0, 9000},
		"silent from then on":   {0, []int64{1001, 2001}, 0, 7000},
		"what waited is late":   {2500, []int64{2800, 2800, 3001, 4001}, 0, 300},
		"opened, never served":  {2500, nil, 0, 7500},
		"after the end":         {0, []int64{1001, 2001, 3001, 12000}, 0, 8000},
		"opened after all":      {20000, []int64{20001, 20001, 20001, 20001}, 0, 1},
		"the first is the late": {0, []int64{1900, 2001, 3001, 4001}, 0, 900},
		"late before it counts": {0, []int64{1001, 2701, 3001, 4300}, 2500, 300},
		"late until it counts":  {0, []int64{1001, 2701, 3001, 4001}, 2600, 101},
	} {
		p := &report{User: "u", Opened: tt.opened}
		for _, at := range tt.at {
			p.Got = append(p.Got, got{At: at})
		}
		if s := a.silence(p, time.UnixMilli(tt.since), time.UnixMilli(10_000)).Milliseconds(); s != tt.want {
			t.Errorf("%s: %d ms, want %d", name, s, tt.want)
		}
	}
}

// TestRemoved: what has left the stream is accounted for by a gap that is told after that, wherever.
func TestRemoved(t *testing.T) {
	t.Parallel()
	entries := []entry{
		{seq: 1, n: 1, user: "u"}, {seq: 2, n: 2, user: "u", removed: time.UnixMilli(5000)}, {seq: 2, n: 3, user: "u"},
	}
	all := []got{{Offset: "1-1", N: 1}, {Offset: "2-2", N: 3}}
	for name, tt := range map[string]struct {
		gaps []gap
		want result
	}{
		"told after":         {[]gap{{Before: 2, At: 6000}}, result{gaps: 1, gapped: 1}},
		"told before, there": {[]gap{{Before: 1, At: 4000}}, result{gaps: 1, gapped: 1}},
		"told before":        {[]gap{{Before: 2, At: 4000}}, result{gaps: 1, lost: 1}},
		"not told":           {nil, result{lost: 1}},
	} {
		res := newAccount(entries, nil).judge([]report{{User: "u", Got: all, Gaps: tt.gaps, Connections: []connection{{}}}}, time.Time{}, time.UnixMilli(0))
		if res.gaps != tt.want.gaps || res.gapped != tt.want.gapped || res.lost != tt.want.lost || res.strays+res.inversions != 0 {
			t.Errorf("%s: %+v", name, *res)
		}
	}
}

// TestDenied: a caller is told wrongly that a user is away when a page of it was mapped all the while.
func TestDenied(t *testing.T) {
	t.Parallel()
	ms := time.UnixMilli
	a := newAccount(nil, nil, refusal{"u", ms(5000), ms(5100)})
	for name, tt := range map[string]struct {
		user       string
		connection connection
		want       int
	}{
		"there":        {"u", connection{Mapped: 1000}, 1},
		"left later":   {"u", connection{Mapped: 1000, Until: 6200}, 1},
		"left":         {"u", connection{Mapped: 1000, Until: 5200}, 0},
		"just came":    {"u", connection{Mapped: 4500}, 0},
		"never mapped": {"u", connection{}, 0},
		"another":      {"v", connection{Mapped: 1000}, 0},
	} {
		if got := a.judge([]report{{User: tt.user, Connections: []connection{tt.connection}}}, time.Time{}, ms(0)).denied; got != tt.want {
			t.Errorf("%s: %d", name, got)
		}
	}
}
