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

// Publication is one message to publish.
type Publication struct {
	Topic  string // a valid topic, see [bridge.ValidTopic]
	Header map[string][]string
	Body   []byte
	ID     string // Nats-Msg-Id: a second publication with it is not stored. Empty: none
}

// ackLimit bounds the wait for one PubAck. A cluster that elects a new leader
// takes longer; who waits for an answer should rather hear "try again".
const ackLimit = 2 * time.Second

// Publish stores a message in the stream and returns its place there. It waits
// for the PubAck, [bridge.ErrUnavailable] says that none came; while NATS is away that
// is at once, and nothing is kept for later.
func (c *Client) Publish(ctx context.Context, p Publication) (bridge.Offset, error) {
	ack, err := c.store(ctx, message(c.cfg, p))
	if err != nil {
		return bridge.Offset{}, err
	}
	return c.place(ack)
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

// message is a publication as NATS has it.
func message(cfg Config, p Publication) *nats.Msg {
	m := &nats.Msg{Subject: cfg.SubjectPrefix + "." + p.Topic, Data: p.Body, Header: make(nats.Header, len(p.Header)+2)}
	maps.Copy(m.Header, p.Header)
	if p.ID != "" {
		m.Header.Set(jetstream.MsgIDHeader, p.ID)
	}
	return m
}

// place is where a PubAck says that a message is.
func (c *Client) place(ack *jetstream.PubAck) (bridge.Offset, error) {
	if ack.Stream != c.cfg.Stream.Name {
		return bridge.Offset{}, fmt.Errorf("%w: stream %s took the message instead of %s", bridge.ErrUnavailable, ack.Stream, c.cfg.Stream.Name)
	}
	return bridge.Offset{Epoch: c.streams.epoch(), Seq: ack.Sequence}, nil
}

// unpublished tells why a message was perhaps not stored, and whether trying again can help.
// Whatever is not for ever is also [bridge.ErrUnavailable].
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

// SendReceipt tells a subject what became of a message. It is best effort and
// never waits. A subject that [Config.mayReceive] refuses is ignored.
func (c *Client) SendReceipt(subject string, r bridge.Receipt) {
	if c.inbox.asks.takeReceipt(subject, r) || !c.cfg.mayReceive(subject) {
		return
	}
	data, err := json.Marshal(r)
	if err != nil {
		panic(err) // a Receipt always encodes
	}
	_ = c.outbox.put(outgoing{Msg: &nats.Msg{Subject: subject, Data: data}}) // who does not get one asks again
}
