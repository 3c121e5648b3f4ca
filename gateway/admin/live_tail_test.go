package admin

import (
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

func settled(user, topic string, o bridge.Outcome) bridge.Settlement {
	return bridge.Settlement{User: bridge.UserID(user), Topic: topic, Outcome: o, Read: time.Now()}
}

func TestFilter(t *testing.T) {
	t.Parallel()
	s := settled("u", "contest.7.verdict", bridge.Pushed)
	for _, tt := range []struct {
		filter
		want bool
	}{
		{filter{}, true},
		{filter{User: "u", Topic: "contest.7.verdict", Outcome: "pushed"}, true},
		{filter{User: "U"}, false},
		{filter{Topic: "contest"}, false},
		{filter{Topic: "contest.*"}, true},
		{filter{Topic: "*"}, true},
		{filter{Topic: "contest.*.verdict"}, false}, // only the end may be open
		{filter{Outcome: "dead"}, false},
		{filter{User: "u", Outcome: "dead"}, false},
	} {
		if got := tt.match(&s); got != tt.want {
			t.Errorf("%+v: %v", tt.filter, got)
		}
	}
}

// TestTopics: however many topics there are, fifty are counted by name and none is lost.
func TestTopics(t *testing.T) {
	t.Parallel()
	f := NewFeed("a")
	for round := range 3 {
		for n := range 200 {
			f.Settled(settled("u", fmt.Sprint("t", n), bridge.Pushed))
		}
		f.Settled(settled("u", "not a topic", bridge.Dead))
		counts := f.topics.counts()
		if got := sum(counts); got != uint64(200*(round+1)) || len(counts) != maxTopics+1 || counts["t0"] != uint64(round+1) || counts["not a topic"] != 0 {
			t.Errorf("round %d: %d of %d names: %v", round, got, len(counts), counts)
		}
	}
}

// TestInterests: rows are collected only for as long as somebody says that he
// watches, at most so many at a time, and what is more is counted.
func TestInterests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := NewFeed("leader")
		sent := make(map[bridge.NodeID][]rows)
		ship := func() {
			clear(sent)
			f.ship(func(node bridge.NodeID, kind string, body []byte) {
				var r rows
				if err := json.Unmarshal(body, &r); err != nil || kind != tellRows {
					t.Errorf("told %s %s: %v", kind, body, err)
				}
				sent[node] = append(sent[node], r)
			})
		}
		watch := func(node bridge.NodeID, filters ...filter) {
			body, _ := json.Marshal(watch{node, filters})
			f.watched(body)
		}
		f.Settled(settled("u", "before", bridge.Pushed))
		watch("b", filter{User: "u"}, filter{Topic: "t*"})
		watch("c", filter{Outcome: "dead"})
		for range feedRows + 7 {
			f.Settled(settled("u", "x", bridge.Pushed))
		}
		f.Settled(settled("v", "tt", bridge.Inboxed))
		ship()
		if b := sent["b"]; len(b) != 2 || len(b[0].Rows) != feedRows || b[0].Skipped != 7 || b[0].Filter.User != "u" || len(b[1].Rows) != 1 || b[1].Rows[0].User != "v" || b[1].Rows[0].Node != "leader" {
			t.Errorf("sent to b: %+v", b)
		}
		if len(sent["c"]) != 0 {
			t.Errorf("sent to c: %+v", sent["c"])
		}
		time.Sleep(watchLapse - time.Second)
		watch("c", filter{Outcome: "dead"})
		time.Sleep(1001 * time.Millisecond)
		ship() // b has lapsed
		f.Settled(settled("u", "t", bridge.Dead))
		ship()
		if len(sent["b"]) != 0 || len(sent["c"]) != 1 {
			t.Errorf("after b has lapsed: %+v", sent)
		}
		time.Sleep(watchLapse)
		ship()
		if f.watching.Load() {
			t.Error("somebody is still watched for")
		}
		for n := range 2 * maxInterests {
			watch("b", filter{User: bridge.UserID(fmt.Sprint(n))})
		}
		if n := len(f.interests); n != maxInterests {
			t.Errorf("%d interests", n)
		}
		f.watched([]byte("rubbish"))
		f.watched([]byte(`{"node":"a.>","filters":[{}]}`))
	})
}

// TestUnwatched: while nobody watches, a message that is settled costs no memory.
func TestUnwatched(t *testing.T) {
	f := NewFeed("a")
	s := settled("u", "t", bridge.Pushed)
	f.Settled(s)
	if n := testing.AllocsPerRun(100, func() { f.Settled(s) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkSettled(b *testing.B) {
	f := NewFeed("a")
	s := settled("u", "submissionUpdate", bridge.Pushed)
	b.Run("unwatched", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f.Settled(s)
		}
	})
	body, _ := json.Marshal(watch{"b", []filter{{User: "other"}}})
	f.watched(body)
	b.Run("watched, no match", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f.Settled(s)
		}
	})
}
