package hub

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/sio"
	"github.com/codewar/socketbridge/store"
)

// boundedConn refuses what is too much at once, as a connection does.
type boundedConn struct {
	pageConn
	most, pending int
}

func (c *boundedConn) Push(p *sio.Packet) error {
	if c.pending > 0 && c.pending+p.Len() > c.most {
		return sio.ErrSlow
	}
	c.pending += p.Len()
	return c.pageConn.Push(p)
}

func (c *boundedConn) Pending() int { return c.pending }

// WaitDrained is a page that reads.
func (c *boundedConn) WaitDrained(_ context.Context, below int) error {
	if c.pending >= below {
		c.pending = 0
	}
	return nil
}

// TestReplayOfMuch: a history larger than what may wait for one connection reaches
// a page that reads, over that one connection.
func TestReplayOfMuch(t *testing.T) {
	t.Parallel()
	const most, messages = 1 << 20, 150
	ctx := t.Context()
	st := store.NewMemory(store.Limits{}).Node("n")
	if _, err := st.Beat(ctx); err != nil {
		t.Fatal(err)
	}
	index := newIndex()
	for i := range messages {
		size := 64 << 10
		if i%10 == 0 {
			size = most // larger than what may wait, with its frame: alone it may
		}
		payload := fmt.Appendf(nil, `{"pad":%q}`, strings.Repeat("x", size))
		e := &bridge.Envelope{User: "u", Topic: "t", Payload: payload, Offset: bridge.Offset{Epoch: 1, Seq: uint64(i + 1)}, Stored: time.Now()}
		index.Append([]*bridge.Envelope{e})
	}
	h := New(st, index, Config{MaxPending: most, SessionTTL: time.Hour}, slog.New(slog.DiscardHandler))
	p := &page{}
	s := &socket{conn: &boundedConn{pageConn: pageConn{page: p, id: "s", ctx: ctx}, most: most}, cursors: cursorArgument}
	if err := h.bind(ctx, s, "u", nil, nil); err != nil {
		t.Fatalf("after %d messages: %v", len(p.got), err)
	}
	if len(p.got) != messages {
		t.Errorf("got %d messages, want %d", len(p.got), messages)
	}
}
