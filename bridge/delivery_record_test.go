package bridge

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRecordBlock(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 21, 0, 0, 123456789, time.UTC)
	records := []DeliveryRecord{
		{Offset: Offset{1, 512}, Subject: "codewar.x", Read: at, Settled: at, Outcome: Dead, Code: CodeInvalidJSON},
		{Offset: Offset{1, 1023}, Subject: "codewar.x", User: "Zoë \"q\" \\", Read: at, Settled: at, Outcome: Inboxed},
		{Offset: Offset{1, 600}, Subject: "codewar.x", User: "u", Read: at, Settled: at.Add(time.Second), Outcome: Pushed, Nodes: []NodeDelivery{{Node: "a", Sockets: []SocketID{"s1", "s2"}, Took: 1, Seen: 1}, {Node: "b", Sockets: []SocketID{"s3"}, Acked: 2, Error: "no answer"}}},
		{Offset: Offset{1, 513}, Subject: "codewar.x", User: "first", Read: at, Settled: at, Outcome: Pushed},
		{Offset: Offset{1, 513}, Subject: "codewar.x", User: "second", Read: at, Settled: at, Outcome: Duplicate},
	}
	block := NewRecordBlock(records...)
	for i, want := range records {
		if i == 3 {
			continue // the one after it is of the same message
		}
		got, err := FindRecord(block.Data, want.Offset)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("record %d (-want +got):\n%s", i, d)
		}
	}
	if got, err := FindRecord(block.Data, Offset{1, 700}); !errors.Is(err, ErrNoRecord) {
		t.Errorf("a message without a record: %+v, %v", got, err)
	}
}

func FuzzFindRecord(f *testing.F) {
	f.Add([]byte{}, uint64(1))
	f.Add(NewRecordBlock(DeliveryRecord{Offset: Offset{1, 7}, User: "u", Nodes: []NodeDelivery{{Node: "a", Sockets: []SocketID{"s"}}}}).Data, uint64(7))
	f.Fuzz(func(t *testing.T, data []byte, seq uint64) {
		got, err := FindRecord(data, Offset{1, seq})
		if err == nil && got.Offset != (Offset{1, seq}) {
			t.Errorf("asked for %d, got %v", seq, got.Offset)
		}
	})
}
