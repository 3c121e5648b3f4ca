package subscriber

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/codewar/socketbridge/bridge"
)

// Ask publishes a message and waits until it is known what became of it.
// [bridge.ErrUnavailable] means that it was perhaps not stored, [bridge.ErrNoReceipt] that it
// was but ctx ended first. A second publication with the same ID is not routed
// again, so it has the outcome "duplicate".
//
// A receipt says that the message was stored, so the PubAck is of interest only
// when it says otherwise, or when no receipt comes: it wakes nobody and is not decoded
// before it is needed.
func (c *Client) Ask(ctx context.Context, p Publication) (bridge.Receipt, error) {
	if err := c.conn.err(); err != nil {
		return bridge.Receipt{}, err
	}
	lost := c.conn.gone()
	var ack atomic.Pointer[nats.Msg] // once it has come
	refused, receipts := make(chan struct{}, 1), make(chan bridge.Receipt, 1)
	m := message(c.cfg, p)
	m.Reply = c.inbox.expect(func(m *nats.Msg) {
		ack.Store(m)
		if !c.stored(m) {
			refused <- struct{}{}
		}
	})
	defer c.inbox.forget(m.Reply)
	subject := c.inbox.expectReceipt(func(r bridge.Receipt) { receipts <- r })
	defer c.inbox.forget(subject)
	m.Header[bridge.HeaderReceipt] = []string{subject}
	if err := c.nc.PublishMsg(m); err != nil {
		return bridge.Receipt{}, c.unpublished(ctx, err)
	}

	late := time.NewTimer(ackLimit)
	defer late.Stop()
	for {
		select {
		case r := <-receipts:
			return r, nil
		case <-refused:
			return c.duplicate(ctx, p, ack.Load())
		case <-late.C:
			if ack.Load() == nil {
				return bridge.Receipt{}, c.unpublished(ctx, errNoAck)
			}
		case <-lost:
			if ack.Load() == nil {
				return c.unanswered(p, nil, errLost)
			}
			lost = nil // the receipt comes when NATS is back
		case <-ctx.Done():
			return c.unanswered(p, ack.Load(), context.Cause(ctx))
		}
	}
}

// stored reports whether a PubAck says nothing but that our stream has the message.
func (c *Client) stored(ack *nats.Msg) bool {
	return bytes.Contains(ack.Data, c.ours) && !bytes.Contains(ack.Data, []byte(`"error"`)) && !bytes.Contains(ack.Data, []byte(`"duplicate"`))
}

// duplicate answers for a message that the stream did not take: because it has
// it, or else with the reason.
func (c *Client) duplicate(ctx context.Context, p Publication, m *nats.Msg) (bridge.Receipt, error) {
	ack, err := decodeAck(m)
	if err != nil {
		return bridge.Receipt{}, c.unpublished(ctx, err)
	}
	at, err := c.place(ack)
	if err != nil {
		return bridge.Receipt{}, err
	}
	return bridge.Receipt{Outcome: bridge.Duplicate, Offset: at, Topic: p.Topic, At: time.Now().UTC()}, nil
}

// unanswered answers when waiting has ended before a receipt came. With a PubAck
// the message is known to be stored.
func (c *Client) unanswered(p Publication, m *nats.Msg, why error) (bridge.Receipt, error) {
	if m == nil {
		return bridge.Receipt{}, fmt.Errorf("publish message: %w: %w", bridge.ErrUnavailable, why)
	}
	r := bridge.Receipt{Topic: p.Topic, At: time.Now().UTC()}
	if ack, err := decodeAck(m); err == nil {
		r.Offset, _ = c.place(ack) // stored looked at the stream's name
	}
	return r, fmt.Errorf("wait for receipt: %w: %w", bridge.ErrNoReceipt, why)
}

// decodeAck reads a PubAck, or the error that came in its place.
func decodeAck(m *nats.Msg) (*jetstream.PubAck, error) {
	if noResponders(m) {
		return nil, jetstream.ErrNoStreamResponse
	}
	var answer struct {
		jetstream.PubAck
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return nil, fmt.Errorf("decode PubAck: %w", err)
	}
	if answer.Error != nil {
		return nil, answer.Error
	}
	return &answer.PubAck, nil
}
