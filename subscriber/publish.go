package subscriber

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/codewar/socketbridge/bridge"
)

// Publication is a message to publish.
type Publication struct {
	Topic  string // a valid topic, see [bridge.ValidTopic]
	Header map[string][]string
	Body   []byte
	ID     string // Nats-Msg-Id: a second publication with it is not stored. Empty: none
}

// ackLimit bounds the wait for one PubAck. The election of a stream leader takes longer: the caller
// then gets an error after which it should retry.
const ackLimit = 2 * time.Second

// Publish stores a message in the stream, waits for the PubAck, and returns the offset.
// [bridge.ErrUnavailable] means that no PubAck came. While NATS is not available Publish fails at
// once, and does not keep the message.
func (c *Client) Publish(ctx context.Context, p Publication) (bridge.Offset, error) {
	ack, err := c.store(ctx, message(c.cfg, p))
	if err != nil {
		return bridge.Offset{}, err
	}
	return c.offset(ack)
}

// store publishes m and waits for its PubAck.
func (c *Client) store(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if err := c.conn.err(); err != nil {
		return nil, err
	}
	ctx, cancel := c.conn.while(ctx)
	defer cancel()
	ctx, cancelLimit := context.WithTimeoutCause(ctx, ackLimit, errNoAck)
	defer cancelLimit()
	ctx, deny := context.WithCancelCause(ctx)
	defer deny(nil)
	defer c.denials.expect(m.Subject, deny)()
	ack, err := c.js.PublishMsg(ctx, m, opts...)
	if err != nil {
		return nil, c.unpublished(ctx, err)
	}
	c.embedded.repairs().stored()
	return ack, nil
}

// message is a publication as a message of NATS.
func message(cfg Config, p Publication) *nats.Msg {
	m := &nats.Msg{Subject: cfg.SubjectPrefix + "." + p.Topic, Data: p.Body, Header: make(nats.Header, len(p.Header)+2)}
	maps.Copy(m.Header, p.Header)
	if p.ID != "" {
		m.Header.Set(jetstream.MsgIDHeader, p.ID)
	}
	return m
}

// offset is the offset of the message of a PubAck.
func (c *Client) offset(ack *jetstream.PubAck) (bridge.Offset, error) {
	if ack.Stream != c.cfg.Stream.Name {
		return bridge.Offset{}, fmt.Errorf("%w: stream %s took the message instead of %s", bridge.ErrUnavailable, ack.Stream, c.cfg.Stream.Name)
	}
	return bridge.Offset{Epoch: c.streams.epoch(), Seq: ack.Sequence}, nil
}

// unpublished returns why a message was perhaps not stored, and whether a retry can help. Every
// error that is not permanent wraps [bridge.ErrUnavailable].
func (c *Client) unpublished(ctx context.Context, err error) error {
	if errors.Is(err, jetstream.ErrNoStreamResponse) {
		c.streams.look() // deleted, perhaps
	} else if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, jetstream.ErrNoStreamResponse) {
		c.embedded.repairs().failed(time.Now()) // any other answer comes from a stream that works
	}
	err = classify(err)
	if errors.Is(err, bridge.ErrUnavailable) || errors.Is(err, bridge.ErrRefused) {
		return fmt.Errorf("publish message: %w", err)
	}
	return fmt.Errorf("publish message: %w: %w", bridge.ErrUnavailable, err)
}

var errNoAck = fmt.Errorf("wait for PubAck: %w", context.DeadlineExceeded)

// PublishForReceipt publishes a message and waits for its receipt. [bridge.ErrUnavailable] means
// that it was perhaps not stored, [bridge.ErrNoReceipt] that it was stored and ctx ended before the
// receipt came. A second publication with the same ID is not routed again: its outcome is
// "duplicate".
//
// A receipt implies that the message was stored. So a PubAck matters only when it has an error or
// when no receipt comes: it wakes no goroutine, and is not decoded before that.
func (c *Client) PublishForReceipt(ctx context.Context, p Publication) (bridge.Receipt, error) {
	lost, err := c.conn.use()
	if err != nil {
		return bridge.Receipt{}, err
	}
	pending := c.inbox.publishes.begin(message(c.cfg, p))
	defer c.inbox.publishes.end(pending)
	result := pending.wait(ctx, lost, c.stopped)
	switch ack := pending.ack.Load(); {
	case result.refused:
		return c.duplicate(ctx, p, ack)
	case result.err == nil:
		c.embedded.repairs().stored()
		return result.receipt, nil
	case ack == nil:
		return bridge.Receipt{}, c.unpublished(ctx, result.err)
	default:
		r := bridge.Receipt{Topic: p.Topic, At: time.Now().UTC()}
		if ack, err := decodeAck(ack); err == nil {
			r.Offset, _ = c.offset(ack) // the stream's name was checked on arrival
		}
		return r, fmt.Errorf("wait for receipt: %w: %w", bridge.ErrNoReceipt, result.err)
	}
}

// duplicate returns the receipt of a message that the stream has already, or the reason why the
// stream has refused it.
func (c *Client) duplicate(ctx context.Context, p Publication, m *nats.Msg) (bridge.Receipt, error) {
	ack, err := decodeAck(m)
	if err != nil {
		return bridge.Receipt{}, c.unpublished(ctx, err)
	}
	at, err := c.offset(ack)
	if err != nil {
		return bridge.Receipt{}, err
	}
	return bridge.Receipt{Outcome: bridge.Duplicate, Offset: at, Topic: p.Topic, At: time.Now().UTC()}, nil
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

// SendReceipt publishes a receipt. It is best effort and never waits. A subject that
// [Config.mayReceive] refuses is ignored.
func (c *Client) SendReceipt(subject string, r bridge.Receipt) {
	if c.inbox.publishes.receiveLocal(subject, r) || !c.cfg.mayReceive(subject) {
		return
	}
	data, err := json.Marshal(r)
	if err != nil {
		panic(err) // a Receipt always encodes
	}
	_ = c.outbox.put(outgoing{Msg: &nats.Msg{Subject: subject, Data: data}}) // best effort
}
