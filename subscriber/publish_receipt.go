package subscriber

import (
	"context"
	"encoding/json"
	"fmt"
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
// when it says otherwise, or when no receipt comes: it wakes no goroutine and is not decoded
// before it is needed.
func (c *Client) Ask(ctx context.Context, p Publication) (bridge.Receipt, error) {
	lost, err := c.conn.use()
	if err != nil {
		return bridge.Receipt{}, err
	}
	asks := c.inbox.asks
	asked := asks.begin(message(c.cfg, p), lost)
	defer asks.end(asked)
	var end ending
	select {
	case end = <-asked.ended:
	case <-ctx.Done():
		end.err = context.Cause(ctx)
	}
	switch ack := asked.ack.Load(); {
	case end.refused:
		return c.duplicate(ctx, p, ack)
	case end.err == nil:
		c.embedded.repairs().stored()
		return end.receipt, nil
	case ack == nil:
		return bridge.Receipt{}, c.unpublished(ctx, end.err)
	default:
		return c.unanswered(p, ack, end.err)
	}
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

// unanswered answers when waiting has ended before a receipt came, for a message that
// is stored.
func (c *Client) unanswered(p Publication, m *nats.Msg, why error) (bridge.Receipt, error) {
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
