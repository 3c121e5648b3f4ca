package hub

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// Push gives one envelope to the user's sockets here, for the next [Hub.Flush] to write. It
// never waits: a socket that cannot take it is closed by its connection and resumes by offset.
func (h *Hub) Push(e *bridge.Envelope) (c bridge.Count) {
	e, span := h.beginPush(e)
	p := packetsOf(e)
	defer p.release()
	for _, s := range h.targets(e.User) {
		count, missed := s.push(p, !h.cfg.LatestOnly)
		if missed {
			h.requestReplays()
		}
		c = c.Add(count)
	}
	h.metrics.count(e, c)
	if span != nil {
		span.End(time.Now(), slog.Int("took", c.Took), slog.Int("seen", c.Seen))
	}
	return c
}

// PushAcked pushes an envelope that clients are to confirm. It calls done once: when every client
// that was given the envelope has confirmed it, has left, or has had Envelope.Ack to do so.
func (h *Hub) PushAcked(e *bridge.Envelope, done func(bridge.Count)) {
	e, span := h.beginPush(e)
	var (
		mu      sync.Mutex // guards c and waiting
		c       bridge.Count
		waiting = 1 // this function itself
		pushed  bridge.Count
	)
	settle := func(more bridge.Count) {
		mu.Lock()
		c = c.Add(more)
		waiting--
		last := waiting == 0
		mu.Unlock()
		if !last {
			return
		}
		if span != nil {
			span.End(time.Now(), slog.Int("took", c.Took), slog.Int("seen", c.Seen), slog.Int("acked", c.Acked))
		}
		done(c)
	}
	for _, s := range h.targets(e.User) {
		mu.Lock()
		waiting++
		mu.Unlock()
		given, missed, waits := s.pushAcked(e, !h.cfg.LatestOnly, func(confirmed bool) {
			var ack bridge.Count
			if confirmed {
				ack.Acked = 1
			}
			settle(ack)
		})
		if missed {
			h.requestReplays()
		}
		pushed = pushed.Add(given)
		mu.Lock()
		c = c.Add(given)
		mu.Unlock()
		if !waits {
			settle(bridge.Count{})
		}
	}
	h.Flush() // the event and the cursor behind it: see [socket.pushAcked]
	h.metrics.count(e, pushed)
	settle(bridge.Count{})
}

// beginPush begins the span of a traced push. The envelope that it returns has the span as its
// parent, for clients that ask for it. span is nil when the push is not traced.
func (h *Hub) beginPush(e *bridge.Envelope) (_ *bridge.Envelope, span bridge.Span) {
	if e.Parent == "" || h.cfg.Begin == nil {
		return e, nil
	}
	if span = h.cfg.Begin(bridge.SpanPush, e.Parent, time.Now()); span == nil {
		return e, nil
	}
	traced := *e
	traced.Parent = span.Traceparent()
	return &traced, span
}

// Flush writes what was pushed: many messages for one socket in one system call. It does not
// wait for a client that reads slowly.
func (h *Hub) Flush() {
	h.cursors.send()
	if s := h.server.Load(); s != nil {
		s.Flush()
	}
}

// withConnectSlot calls do, which must not wait, when the connect limiter admits it. It does
// nothing when ctx ends before.
func (h *Hub) withConnectSlot(ctx context.Context, do func()) {
	if s := h.server.Load(); s != nil {
		s.WithConnectSlot(ctx, do)
	}
}
