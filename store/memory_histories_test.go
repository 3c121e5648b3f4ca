package store

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// appendTo appends a message of so many bytes to a user's history.
func appendTo(t *testing.T, n *MemoryNode, user bridge.UserID, seq uint64, bytes int) {
	t.Helper()
	e := bridge.Entry{Envelope: &bridge.Envelope{User: user, Topic: "t", Offset: bridge.Offset{Epoch: 1, Seq: seq}, Payload: make([]byte, bytes)}}
	if _, err := n.Append(t.Context(), []bridge.Entry{e}); err != nil {
		t.Fatal(err)
	}
}

// page reads a user's history after a message.
func page(t *testing.T, n *MemoryNode, user bridge.UserID, after uint64) bridge.Replay {
	t.Helper()
	r, err := n.Read(t.Context(), user, bridge.Offset{Epoch: 1, Seq: after}, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestMemoryBytes: all histories together take so many bytes, the oldest messages go
// first, and a page that has missed one of them is told.
func TestMemoryBytes(t *testing.T) {
	t.Parallel()
	const most, message = 16 << 20, 1 << 20
	m := NewMemory(Limits{MaxMemory: most})
	n := m.Node("n")
	for i := range uint64(400) {
		appendTo(t, n, bridge.UserID(fmt.Sprint("u", i)), i+1, message)
		if s := m.stats(); s.Bytes > most {
			t.Fatalf("%d bytes after %d messages, want at most %d", s.Bytes, i+1, most)
		}
	}
	const kept = most / (message + memoryEntryBytes)
	for i := range uint64(400) {
		r := page(t, n, bridge.UserID(fmt.Sprint("u", i)), 0)
		if here := len(r.Entries) == 1; here != (i >= 400-kept) || r.Gap == here {
			t.Fatalf("message %d: %d entries, gap %v; want the newest %d", i, len(r.Entries), r.Gap, kept)
		}
	}
	if s := m.stats(); s.Evicted != 400-kept {
		t.Errorf("%d messages were evicted, want %d", s.Evicted, 400-kept)
	}
}

// TestMemoryBytesOfOneUser: a user's flood takes an eighth, and nothing of others'.
func TestMemoryBytesOfOneUser(t *testing.T) {
	t.Parallel()
	const most = 8 << 20
	m := NewMemory(Limits{MaxMemory: most, MaxPerUser: 1 << 20})
	n := m.Node("n")
	appendTo(t, n, "other", 1, 100)
	for i := range uint64(1000) {
		appendTo(t, n, "u", i+2, 64<<10)
	}
	if r := page(t, n, "other", 0); len(r.Entries) != 1 || r.Gap {
		t.Errorf("another user's history: %d entries, gap %v", len(r.Entries), r.Gap)
	}
	r := page(t, n, "u", 2)
	if bytes := len(r.Entries) * (64 << 10); bytes > most/8 || bytes < most/16 || !r.Gap || r.Entries[len(r.Entries)-1].Offset.Seq != 1001 {
		t.Errorf("%d entries, gap %v", len(r.Entries), r.Gap)
	}
	appendTo(t, n, "u", 1002, most/4) // more than its share, and all that it has
	if r := page(t, n, "u", 1001); len(r.Entries) != 1 || r.Gap {
		t.Errorf("a message larger than the share: %d entries, gap %v", len(r.Entries), r.Gap)
	}
}

// TestMemoryBytesAreGivenBack: what lapses, is trimmed or withdrawn counts no more.
func TestMemoryBytesAreGivenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(Limits{MaxPerUser: 10, HistoryTTL: time.Minute})
		n := m.Node("n")
		for i := range uint64(30) {
			appendTo(t, n, bridge.UserID(fmt.Sprint("u", i%2)), i+1, 1000)
		}
		if gone, err := n.Withdraw(t.Context(), "u1", bridge.Offset{Epoch: 1, Seq: 30}); !gone || err != nil {
			t.Fatalf("Withdraw: %v, %v", gone, err)
		}
		if got, want := m.stats().Bytes, 19*(1000+memoryEntryBytes); got != want || m.histories.order.Len() != 19 {
			t.Errorf("%d bytes of %d entries, want %d of 19", got, m.histories.order.Len(), want)
		}
		time.Sleep(time.Minute)
		page(t, n, "u0", 0)
		page(t, n, "u1", 0)
		if got := m.stats().Bytes; got != 0 || m.histories.order.Len() != 0 {
			t.Errorf("%d bytes of %d entries when all have lapsed", got, m.histories.order.Len())
		}
	})
}

// TestMemoryUsersAreBounded: messages for ever new users do not fill the memory with
// what is remembered of each, once their histories have gone.
func TestMemoryUsersAreBounded(t *testing.T) {
	t.Parallel()
	m := NewMemory(Limits{MaxMemory: 10 * (100 + memoryEntryBytes)})
	m.mostUsers = 1000
	n := m.Node("n")
	for i := range uint64(10_000) {
		appendTo(t, n, bridge.UserID(fmt.Sprint("u", i)), i+1, 100)
	}
	if len(m.users) > 1010 {
		t.Errorf("%d users are remembered, want about 1,000", len(m.users))
	}
	if r := page(t, n, "u9999", 9_999); len(r.Entries) != 1 {
		t.Errorf("%d entries of the newest user", len(r.Entries))
	}
}
