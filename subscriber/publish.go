package subscriber

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
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
	ack, err := c.publish(ctx, p, "")
	return ack.offset, err
}

// Ask publishes a message and waits until it is known what became of it.
// [bridge.ErrUnavailable] means that it was perhaps not stored, [bridge.ErrNoReceipt] that it
// was but ctx ended first. A second publication with the same ID is not routed
// again, so it has the outcome "duplicate".
func (c *Client) Ask(ctx context.Context, p Publication) (bridge.Receipt, error) {
	answer := make(chan *nats.Msg, 1)
	subject := c.inbox.expect(func(m *nats.Msg) { answer <- m })
	defer c.inbox.forget(subject)

	ack, err := c.publish(ctx, p, subject)
	if err != nil {
		return bridge.Receipt{}, err
	}
	none := bridge.Receipt{Offset: ack.offset, Topic: p.Topic, At: time.Now().UTC()}
	if ack.duplicate {
		none.Outcome = bridge.Duplicate
		return none, nil
	}
	select {
	case m := <-answer:
		var r bridge.Receipt
		if err := json.Unmarshal(m.Data, &r); err != nil {
			return none, fmt.Errorf("decode receipt: %w: %w", bridge.ErrNoReceipt, err)
		}
		return r, nil
	case <-ctx.Done():
		return none, fmt.Errorf("wait for receipt: %w: %w", bridge.ErrNoReceipt, context.Cause(ctx))
	}
}

// acknowledged is what a PubAck says.
type acknowledged struct {
	offset    bridge.Offset
	duplicate bool // the ID was known, nothing was stored
}

func (c *Client) publish(ctx context.Context, p Publication, receipt string) (acknowledged, error) {
	m := nats.NewMsg(c.cfg.SubjectPrefix + "." + p.Topic)
	m.Data = p.Body
	maps.Copy(m.Header, p.Header)
	if p.ID != "" {
		m.Header.Set(jetstream.MsgIDHeader, p.ID)
	}
	if receipt != "" {
		m.Header.Set(bridge.HeaderReceipt, receipt)
	}
	ack, err := c.store(ctx, m)
	switch {
	case err != nil:
		return acknowledged{}, err
	case ack.Stream != c.cfg.Stream.Name:
		return acknowledged{}, fmt.Errorf("%w: stream %s took the message instead of %s", bridge.ErrUnavailable, ack.Stream, c.cfg.Stream.Name)
	}
	return acknowledged{bridge.Offset{Epoch: c.streams.epoch(), Seq: ack.Sequence}, ack.Duplicate}, nil
}

// store publishes m and waits for its PubAck. The library matches acks on one
// subscription, so a call costs neither a subscription nor a goroutine.
func (c *Client) store(ctx context.Context, m *nats.Msg) (*jetstream.PubAck, error) {
	if err := c.conn.err(); err != nil {
		return nil, err
	}
	ctx, cancel := c.conn.while(ctx)
	defer cancel()
	ctx, cancelLimit := context.WithTimeoutCause(ctx, ackLimit, errNoAck)
	defer cancelLimit()
	ack, err := c.js.PublishMsg(ctx, m)
	switch {
	case err == nil:
		return ack, nil
	case errors.Is(err, nats.ErrMaxPayload):
		return nil, fmt.Errorf("publish message: %w", bridge.ErrTooLarge)
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		c.streams.look() // deleted, perhaps
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	if errors.Is(err, bridge.ErrUnavailable) {
		return nil, fmt.Errorf("publish message: %w", err)
	}
	return nil, fmt.Errorf("publish message: %w: %w", bridge.ErrUnavailable, err)
}

var errNoAck = fmt.Errorf("wait for PubAck: %w", context.DeadlineExceeded)

// SendReceipt tells a subject what became of a message. It is best effort and
// never waits. A subject that publishers must not make us write to is ignored.
func (c *Client) SendReceipt(subject string, r bridge.Receipt) {
	if !c.mayReceive(subject) {
		return
	}
	data, err := json.Marshal(r)
	if err != nil {
		panic(err) // a Receipt always encodes
	}
	_ = c.outbox.put(outgoing{Msg: &nats.Msg{Subject: subject, Data: data}}) // who does not get one asks again
}

// mayReceive guards our permissions: a receipt subject comes from whoever
// publishes, and a message to "$JS.API.STREAM.PURGE.CODEWAR" would empty the stream.
func (c *Client) mayReceive(subject string) bool {
	first, _, _ := strings.Cut(subject, ".")
	if strings.HasPrefix(first, "$") || first == ownPrefix || strings.HasPrefix(subject, c.cfg.SubjectPrefix+".") {
		return false
	}
	return plainSubject(subject) && len(subject) <= 256
}

// plainSubject reports whether one can publish to s: tokens joined by dots, no wildcards.
func plainSubject(s string) bool {
	for token := range strings.SplitSeq(s, ".") {
		if token == "" || strings.ContainsAny(token, "*> \t\r\n") {
			return false
		}
	}
	return true
}
