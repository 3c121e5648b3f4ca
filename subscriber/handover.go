package subscriber

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/codewar/socketbridge/bridge"
)

// handoverLimit is how long a leader that has resigned waits for the next one. A handover takes a
// few milliseconds; when the node that should take over hangs, the stop takes this much longer.
const handoverLimit = 2 * time.Second

// handover lets another node lead at once when the leader stops. The leader notifies the other
// nodes, and disconnects its own clients only when one of them reads the stream. Otherwise its
// clients would have no node and the other nodes no leader at the same time.
//
// It is best effort: without it the other nodes find the lease free at their next campaign.
type handover struct {
	client  *Client
	log     *slog.Logger
	subject string
	wake    chan struct{} // capacity 1: a leader has resigned, so campaign now

	mu    sync.Mutex // guards all below
	reads bool       // this node reads the stream as the leader
	asker *nats.Msg  // of the leader that has resigned and waits; may be too old to be answered
}

func newHandover(c *Client, log *slog.Logger) *handover {
	return &handover{client: c, log: log, subject: c.cfg.resignedSubject(), wake: make(chan struct{}, 1)}
}

// onResign handles the message of a leader that has resigned.
func (h *handover) onResign(m *nats.Msg) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reads { // this node's campaign was faster than the message
		h.answer(m)
		return
	}
	h.asker = m
	signal(h.wake)
}

// setReading records whether this node reads the stream as the leader.
func (h *handover) setReading(reads bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reads = reads
	if reads && h.asker != nil {
		h.answer(h.asker)
		h.asker = nil
	}
}

func (h *handover) answer(m *nats.Msg) {
	if err := respond(m, []byte(h.client.node)); err != nil { // it waits no longer than handoverLimit
		h.log.Debug("resigned leader not answered", "err", err)
	}
}

// handOver notifies the other nodes that the lease is free, and waits until one of them reads
// the stream or none will. This node must have unsubscribed from such messages.
func (h *handover) handOver(ctx context.Context) {
	ctx, cancel := context.WithTimeoutCause(ctx, handoverLimit, fmt.Errorf("no node reads the stream after %v", handoverLimit))
	defer cancel()
	began := time.Now()
	m, err := h.client.request(ctx, h.subject, nil)
	switch {
	case err == nil:
		h.log.Info("leader_handed_over", "to", bridge.NodeID(m.Data), "took", time.Since(began))
	case !errors.Is(err, bridge.ErrNodeGone): // else this was the only node
		h.log.Warn("leader not handed over, another node takes over", "err", err)
	}
}
