package subscriber

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// Limits of the messages that wait to be written to NATS. They are not reached while NATS
// reads; beyond them a message is refused.
const (
	outboxMessages = 4096
	outboxBytes    = 64 << 20
)

var errOutboxFull = errors.New("outbox is full")

// outbox publishes core messages in the order of the calls of put, without making
// the caller wait: the library blocks when its buffer is full and
// the server does not read.
type outbox struct {
	nc    *nats.Conn
	conn  *connection
	queue chan outgoing // senders: put; receiver: run; never closed
	bytes atomic.Int64  // in queue
}

// outgoing is a message in the outbox.
type outgoing struct {
	*nats.Msg
	failed func(error) // called when the message was certainly not sent; may be nil
}

func newOutbox(nc *nats.Conn, conn *connection) *outbox {
	return &outbox{nc: nc, conn: conn, queue: make(chan outgoing, outboxMessages)}
}

// put queues m. After an error m is not sent and m.failed is not called.
func (o *outbox) put(m outgoing) error {
	if err := o.conn.err(); err != nil {
		return err
	}
	size := int64(len(m.Data))
	if o.bytes.Add(size) > outboxBytes {
		o.bytes.Add(-size)
		return errOutboxFull
	}
	select {
	case o.queue <- m:
		return nil
	default:
		o.bytes.Add(-size)
		return errOutboxFull
	}
}

// run publishes until ctx ends, and then the messages that are still queued.
func (o *outbox) run(ctx context.Context) {
	for {
		select {
		case m := <-o.queue:
			o.send(m)
		case <-ctx.Done():
			for range len(o.queue) {
				o.send(<-o.queue)
			}
			return
		}
	}
}

func (o *outbox) send(m outgoing) {
	o.bytes.Add(-int64(len(m.Data)))
	if err := o.nc.PublishMsg(m.Msg); err != nil && m.failed != nil {
		m.failed(err)
	}
}
