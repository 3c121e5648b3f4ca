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
		entries = append(entries, entry{offset: bridge.Offset{Epoch: 1, Seq: n + 1}, stored: began.Add(time.Duration(n) * time.Second), user: "u", n: n + 1})
	}
	entries = append(entries,
		entry{offset: bridge.Offset{Epoch: 1, Seq: 7}, stored: began, user: "other", n: 7},
		entry{offset: bridge.Offset{Epoch: 1, Seq: 8}, stored: began, user: "u", n: 8, drop: true},
		entry{offset: bridge.Offset{Epoch: 1, Seq: 9}, stored: began, poison: true},
		entry{offset: bridge.Offset{Epoch: 2, Seq: 1}, stored: began.Add(time.Minute), user: "u", n: 10},
	)
	at := func(seq, n uint64) got { return got{Offset: bridge.Offset{Epoch: 1, Seq: seq}.String(), N: n} }
	anew := got{Offset: "2-1", N: 10}
	one, two, three, four, five, six := at(1, 1), at(2, 2), at(3, 3), at(4, 4), at(5, 5), at(6, 6)
	for _, tt := range []struct {
		name   string
		got    []got
		gaps   []int
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
		{name: "under another offset", got: []got{one, two, three, four, five, six, at(8, 6), anew}, answer: unsure, want: result{strays: 1}},
		{name: "another user's", got: []got{one, two, three, four, five, six, at(7, 7), anew}, answer: unsure, want: result{strays: 1, unsure: 1}},
		{name: "poison", got: []got{one, two, three, four, five, six, at(9, 0), anew}, answer: unsure, want: result{strays: 1, unsure: 1}},
		{name: "gap told", got: []got{one, two, five, six, anew}, gaps: []int{2}, answer: unsure, want: result{gaps: 1, gapped: 2, unsure: 1}},
		{name: "gap told elsewhere", got: []got{one, two, five, six, anew}, gaps: []int{3}, answer: unsure, want: result{gaps: 1, lost: 2, unsure: 1}},
		{
			name: "replayed", got: []got{one, two, three, four, five, six, anew}, again: []connection{{At: 2500, First: 2}, {At: 4500, First: 2, Recovered: true}},
			answer: unsure, want: result{replayed: 2, reconnects: 2, recovered: 1, unsure: 1},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := newAccount(entries, map[uint64]answer{8: tt.answer})
			res := a.judge([]report{{User: "u", Got: tt.got, Gaps: tt.gaps, Connections: append([]connection{{}}, tt.again...)}})
			bad := res.duplicates+res.inversions+res.lost+res.strays > 0
			if res.failed() != bad || bad != (len(res.breaches) > 0) {
				t.Errorf("failed %t, breaches %q", res.failed(), res.breaches)
			}
			tt.want.published, tt.want.received, res.breaches = len(entries), len(tt.got), nil
			if diff := cmp.Diff(tt.want, *res, cmp.AllowUnexported(result{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestJudgeDead: each poison message once among the dead letters, and nothing else.
func TestJudgeDead(t *testing.T) {
	t.Parallel()
	a := newAccount([]entry{{offset: bridge.Offset{Epoch: 1, Seq: 1}, poison: true}, {offset: bridge.Offset{Epoch: 1, Seq: 2}, user: "u"}}, nil)
	for name, tt := range map[string]struct {
		dead map[string]int
		ok   bool
	}{
		"once":            {map[string]int{"1-1": 1}, true},
		"none":            {nil, false},
		"twice":           {map[string]int{"1-1": 2}, false},
		"a sound one too": {map[string]int{"1-1": 1, "1-2": 1}, false},
		"another's":       {map[string]int{"1-2": 1}, false},
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
	res := newAccount(nil, map[uint64]answer{1: stored, 2: unsure, 3: offline}).judge(nil)
	if res.lost != 1 || !res.failed() {
		t.Errorf("%+v", *res)
	}
}
