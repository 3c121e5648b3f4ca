package subscriber

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/codewar/socketbridge/bridge"
)

// handoverLimit is how long a leader that has resigned waits for the next one. It
// is far more than that takes; a node that is asked and stands still costs this much
// of a stop.
const handoverLimit = 2 * time.Second

// handover spares pages the time between two campaigns when a leader stops: it tells
// the nodes that wait, and goes on stopping, that is, lets its own pages go, only
// when one of them reads the stream. Both at once would leave its pages without a
// node and the others' without a leader in the same second.
//
// It is best effort. Without it the others find the lease free at their next campaign.
type handover struct {
	client  *Client
	log     *slog.Logger
	subject string
	told    chan struct{} // capacity 1: a leader has resigned, so campaign now

	mu    sync.Mutex // guards all below
	reads bool       // this node reads the stream
	asker *nats.Msg  // who has resigned and waits for us to read; may have given up since
}

func newHandover(c *Client, log *slog.Logger) *handover {
	return &handover{client: c, log: log, subject: c.cfg.resignedSubject(), told: make(chan struct{}, 1)}
}

// listen hears of leaders that resign, until the returned function is called.
func (h *handover) listen() (end func(), err error) {
	sub, err := h.client.nc.Subscribe(h.subject, h.hear)
	if err != nil {
		return nil, fmt.Errorf("listen for leaders that resign: %w", err)
	}
	return func() {
		if err := sub.Unsubscribe(); err != nil {
			h.log.Debug("still listening for leaders that resign", "err", err)
		}
	}, nil
}

func (h *handover) hear(m *nats.Msg) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reads { // our campaign was quicker than the word
		h.answer(m)
		return
	}
	h.asker = m
	select {
	case h.told <- struct{}{}:
	default:
	}
}

// reading is told when this node begins to read the stream, and when it ends.
func (h *handover) reading(begun bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reads = begun
	if begun && h.asker != nil {
		h.answer(h.asker)
		h.asker = nil
	}
}

func (h *handover) answer(m *nats.Msg) {
	if err := respond(m, []byte(h.client.node)); err != nil { // it waits no longer than handoverLimit
		h.log.Debug("resigned leader not answered", "err", err)
	}
}

// give tells the others that the lease is free and waits until one of them reads
// the stream, or it is clear that none will soon. This node must not listen any more.
func (h *handover) give(ctx context.Context) {
	ctx, cancel := context.WithTimeoutCause(ctx, handoverLimit, fmt.Errorf("no node reads the stream after %v", handoverLimit))
	defer cancel()
	began, lost := time.Now(), h.client.conn.gone()
	answers := make(chan *nats.Msg, 1)
	reply := h.client.inbox.expect(func(m *nats.Msg) { answers <- m })
	defer h.client.inbox.forget(reply)
	err := h.client.outbox.put(outgoing{Msg: &nats.Msg{Subject: h.subject, Reply: reply}})
	if err == nil {
		select {
		case m := <-answers:
			if noResponders(m) {
				return // this was the only node
			}
			h.log.Info("leader_handed_over", "to", bridge.NodeID(m.Data), "took", time.Since(began))
			return
		case <-lost:
			err = errLost
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	h.log.Warn("leader not handed over, another node takes over", "err", err)
}
