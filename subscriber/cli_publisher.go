package subscriber

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/codewar/socketbridge/bridge"
)

// Publisher publishes like any program outside a bridge. It needs NATS, and a stream that a bridge
// has created. Safe for concurrent use; a lost connection is not made again.
type Publisher struct{ *cliConn }

// OpenPublisher connects to the same server as [OpenDeadLetters].
func OpenPublisher(cfg Config, log *slog.Logger) (*Publisher, error) {
	c, err := dialCLI(cfg, "publisher", log)
	if err != nil {
		return nil, err
	}
	return &Publisher{c}, nil
}

// Publish stores a message and waits for its PubAck. [bridge.ErrUnavailable] means
// that none came: the message is perhaps stored.
func (p *Publisher) Publish(ctx context.Context, m Publication) error {
	_, err := p.store(ctx, message(p.cfg, m))
	return err
}

// PublishForReceipt publishes a message and waits for its receipt. Errors are those of
// [Client.PublishForReceipt].
func (p *Publisher) PublishForReceipt(ctx context.Context, publication Publication) (bridge.Receipt, error) {
	m := message(p.cfg, publication)
	subject := p.nc.NewRespInbox()
	sub, err := p.nc.SubscribeSync(subject)
	if err != nil {
		return bridge.Receipt{}, fmt.Errorf("subscribe to receipt: %w: %w", bridge.ErrUnavailable, err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	m.Header.Set(bridge.HeaderReceipt, subject)
	ack, err := p.store(ctx, m)
	if err != nil {
		return bridge.Receipt{}, err
	}
	if ack.Duplicate {
		return bridge.Receipt{Outcome: bridge.Duplicate, Topic: publication.Topic, At: time.Now().UTC()}, nil
	}
	answer, err := sub.NextMsgWithContext(ctx)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return bridge.Receipt{}, fmt.Errorf("wait for receipt of message %d of stream %s: %w: %w", ack.Sequence, ack.Stream, bridge.ErrNoReceipt, err)
	}
	var r bridge.Receipt
	if err := json.Unmarshal(answer.Data, &r); err != nil {
		return bridge.Receipt{}, fmt.Errorf("decode receipt: %w", err)
	}
	return r, nil
}

func (p *Publisher) store(ctx context.Context, m *nats.Msg) (*jetstream.PubAck, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, ackLimit, errNoAck)
	defer cancel()
	ack, err := p.js.PublishMsg(ctx, m)
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return nil, fmt.Errorf("publish message: %w", bridge.ErrTooLarge)
	case ctx.Err() != nil:
		return nil, fmt.Errorf("publish message: %w: %w", bridge.ErrUnavailable, context.Cause(ctx))
	case err != nil:
		return nil, fmt.Errorf("publish message to %s: %w: %w", m.Subject, bridge.ErrUnavailable, err)
	case ack.Stream != p.cfg.Stream.Name:
		return nil, fmt.Errorf("%w: stream %s took the message instead of %s", bridge.ErrUnavailable, ack.Stream, p.cfg.Stream.Name)
	}
	return ack, nil
}
