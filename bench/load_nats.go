package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// natsLoad publishes over one NATS connection, so that each user's messages keep their order.
type natsLoad struct {
	*window
	mill  *mill
	nc    *nats.Conn
	reply string // for JetStream's acknowledgements; empty: core NATS, which has none
	users int
	next  int
	body  []byte

	awaited uint64 // acknowledgements asked for
	acked   atomic.Uint64
	refused atomic.Pointer[string] // an acknowledgement that is none
}

const subject = "codewar." + topic

var errRefused = errors.New("not stored")

// dialNATS connects; acked asks the stream to acknowledge each message. Futures, as the
// client library has them, would cost this process as much as the server's part: all that
// is to know is how many acknowledgements came, and that none is an error.
func dialNATS(url string, w *window, m *mill, acked bool) (*natsLoad, error) {
	nc, err := nats.Connect(url)
	if err != nil {
		return nil, fmt.Errorf("connect to nats: %w", err)
	}
	l := &natsLoad{window: w, mill: m, nc: nc, users: len(m.sent)}
	if !acked {
		return l, nil
	}
	l.reply = nats.NewInbox()
	sub, err := nc.Subscribe(l.reply, func(m *nats.Msg) {
		if bytes.Contains(m.Data, []byte(`"error"`)) || len(m.Data) == 0 { // empty: no stream listens
			text := fmt.Sprintf("%s %s", m.Data, m.Header)
			l.refused.Store(&text)
		}
		l.acked.Add(1)
	})
	if err == nil {
		err = sub.SetPendingLimits(-1, -1) // the window bounds them
	}
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("subscribe to acknowledgements: %w", err)
	}
	return l, nil
}

func (l *natsLoad) publish(due time.Duration) error {
	l.body = l.mill.appendBody(l.body[:0], l.next, due, false)
	l.next = (l.next + 1) % l.users
	l.published.Add(1)
	if l.reply == "" {
		return l.nc.Publish(subject, l.body)
	}
	l.awaited++
	return l.nc.PublishRequest(subject, l.reply, l.body)
}

func (l *natsLoad) flood(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := l.wait(context.WithoutCancel(ctx), l.size); err != nil {
			return err
		}
		if err := l.publish(now()); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	}
	return nil
}

func (l *natsLoad) pace(ctx context.Context, rate int) error {
	return onSchedule(ctx, rate, func(_ int, due time.Duration) error { return l.publish(due) })
}

func (l *natsLoad) settle(ctx context.Context) error {
	if err := l.drain(ctx); err != nil {
		return err
	}
	// The server answers a flush after all that it has said before.
	for deadline := now() + patience; l.acked.Load() < l.awaited; {
		if err := l.nc.FlushTimeout(patience); err != nil {
			return fmt.Errorf("flush: %w", err)
		}
		if now() > deadline {
			return fmt.Errorf("%w: %d of %d acknowledged", errRefused, l.acked.Load(), l.awaited)
		}
	}
	if why := l.refused.Load(); why != nil {
		return fmt.Errorf("%w: %s", errRefused, *why)
	}
	return nil
}

func (l *natsLoad) close() { l.nc.Close() }
