package bridge

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTraceSurvives(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 21, 0, 0, 123456789, time.UTC)
	traces := []Trace{
		{Offset: Offset{1, 512}, Subject: "codewar.x", Read: at, Settled: at, Outcome: Dead, Code: CodeInvalidJSON},
		{Offset: Offset{1, 1023}, Subject: "codewar.x", User: "Zoë \"q\" \\", Read: at, Settled: at, Outcome: Inboxed},
		{Offset: Offset{1, 600}, Subject: "codewar.x", User: "u", Read: at, Settled: at.Add(time.Second), Outcome: Pushed, Tries: []Try{{Node: "a", Sockets: []SocketID{"s1", "s2"}, Took: 1, Seen: 1}, {Node: "b", Sockets: []SocketID{"s3"}, Acked: 2, Error: "no answer"}}},
		{Offset: Offset{1, 513}, Subject: "codewar.x", User: "first", Read: at, Settled: at, Outcome: Pushed},
		{Offset: Offset{1, 513}, Subject: "codewar.x", User: "second", Read: at, Settled: at, Outcome: Duplicate},
	}
	block := NewTraceBlock(traces...)
	for i, want := range traces {
		if i == 3 {
			continue // the one after it is of the same message
		}
		got, err := FindTrace(block.Data, want.Offset)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("trace %d (-want +got):\n%s", i, d)
		}
	}
	if got, err := FindTrace(block.Data, Offset{1, 700}); !errors.Is(err, ErrNoTrace) {
		t.Errorf("a message without a trace: %+v, %v", got, err)
	}
}

func FuzzFindTrace(f *testing.F) {
	f.Add([]byte{}, uint64(1))
	f.Add(NewTraceBlock(Trace{Offset: Offset{1, 7}, User: "u", Tries: []Try{{Node: "a", Sockets: []SocketID{"s"}}}}).Data, uint64(7))
	f.Fuzz(func(t *testing.T, data []byte, seq uint64) {
		got, err := FindTrace(data, Offset{1, seq})
		if err == nil && got.Offset != (Offset{1, seq}) {
			t.Errorf("asked for %d, got %v", seq, got.Offset)
		}
	})
}
