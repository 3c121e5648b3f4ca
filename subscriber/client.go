package subscriber

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/codewar/socketbridge/bridge"
)

// Client is this node's connection to NATS and everything that uses it.
// Safe for concurrent use.
type Client struct {
	cfg  Config
	node bridge.NodeID
	root *slog.Logger // as given to Open
	log  *slog.Logger

	embedded  *embedded // nil with a URL
	conn      *connection
	nc        *nats.Conn
	js        jetstream.JetStream
	streams   *streams
	inbox     *inbox
	outbox    *outbox
	forwarder *forwarder

	membership *membership
	receiver   atomic.Pointer[forwardReceiver] // nil until ReceiveForwards
	identity   atomic.Pointer[nodeIdentity]    // nil until KeepIdentity
	queries    atomic.Pointer[QueryHandler]    // nil until ServeQueries
	heardTerm  atomic.Uint64                   // the term of the last message of a leader

	withdrawals atomic.Pointer[withdrawals] // nil until NewIntake

	asyncErrors bridge.LogLimiter
	denials     denials
	reconnects  atomic.Uint64 // times that NATS was available again
	faults      atomic.Uint64 // found by the client library

	pause func(context.Context, time.Duration) error // between two looks at a stream that went back

	background sync.WaitGroup     // streams, outbox, membership and repairs
	stop       context.CancelFunc // ends them
	stopped    <-chan struct{}    // closed by stop
	closing    atomic.Bool        // Close was called
	closed     chan struct{}      // closed when the connection is
}

// Open connects to NATS, or starts the embedded server when cfg.URL is empty.
// With a URL it does not wait for the connection: see [Client.Ready].
func Open(ctx context.Context, cfg Config, node bridge.NodeID, log *slog.Logger) (_ *Client, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withNames().withLogin()
	c := &Client{cfg: cfg, node: node, root: log, log: log.With("component", "subscriber"), pause: sleep, closed: make(chan struct{})}
	c.conn = newConnection(c.log)
	if cfg.URL == "" {
		if c.embedded, err = startEmbedded(ctx, cfg, log); err != nil {
			return nil, err
		}
	}
	if err := c.open(ctx); err != nil {
		return nil, errors.Join(err, c.Close(context.WithoutCancel(ctx)))
	}
	return c, nil
}

func (c *Client) open(ctx context.Context) (err error) {
	if c.nc, err = c.connect(c.cfg, c.embedded.nats()); err != nil {
		return err
	}
	if c.js, err = jetstream.New(c.nc, jetstream.WithDefaultTimeout(apiLimit)); err != nil {
		return fmt.Errorf("use jetstream: %w", err)
	}
	c.streams = newStreams(c.cfg, c.js, c.conn, c.log)
	if c.embedded != nil { // the server runs, so a retry would not help
		if err := c.streams.ensureBoth(ctx); err != nil {
			return err
		}
	}
	c.outbox = newOutbox(c.nc, c.conn)
	if c.inbox, err = openInbox(c.nc, c.outbox, fmt.Appendf(nil, `"stream":%q`, c.cfg.Stream.Name)); err != nil {
		return err
	}
	c.forwarder = newForwarder(c.cfg, c.inbox, c.outbox)
	if c.membership, err = newMembership(c); err != nil {
		return err
	}
	ctx, c.stop = context.WithCancel(context.WithoutCancel(ctx))
	c.stopped = ctx.Done()
	c.background.Go(func() { c.streams.keep(ctx) })
	c.background.Go(func() { c.outbox.run(ctx) })
	c.background.Go(func() { c.membership.run(ctx) })
	if r := c.embedded.repairs(); r != nil {
		c.background.Go(func() { r.run(ctx, c.streams.look) })
	}
	return nil
}

// Ready returns nil while NATS is available and has both streams, and else the reason.
func (c *Client) Ready() error {
	if err := c.conn.err(); err != nil {
		return err
	}
	return c.streams.err()
}

// Reaches reports whether o is an offset of the stream, not beyond its end, and the
// stream has every message after it. False is never older than the call; true may be
// some seconds old. An error means that NATS did not answer.
func (c *Client) Reaches(ctx context.Context, o bridge.Offset) (bool, error) {
	if c.streams.state().reaches(o) {
		return true, nil
	}
	now, err := c.streams.since(ctx)
	if err != nil {
		return false, fmt.Errorf("ask for the stream's end: %w", err)
	}
	return now.reaches(o), nil
}

// Close sends what is queued, until ctx ends, and then closes the connection and stops the embedded
// server. Calls in progress fail. An [Intake] must have been drained before.
func (c *Client) Close(ctx context.Context) error {
	if c.closing.Swap(true) {
		return nil
	}
	var errs []error
	if c.stop != nil {
		c.stop()
		c.background.Wait()
	}
	if c.nc != nil {
		errs = append(errs, c.disconnect(ctx))
	}
	if c.inbox != nil {
		c.inbox.endAll("", errClosed)
	}
	if c.embedded != nil {
		errs = append(errs, c.embedded.stop(ctx))
	}
	return errors.Join(errs...)
}

// disconnect drains the connection, then closes it.
func (c *Client) disconnect(ctx context.Context) error {
	err := c.nc.Drain()
	if errors.Is(err, nats.ErrConnectionReconnecting) {
		err = nil // without a server it closes at once
	}
	select {
	case <-c.closed:
	case <-ctx.Done():
		err = fmt.Errorf("drain connection: %w", context.Cause(ctx))
		c.nc.Close()
		<-c.closed
	}
	return err
}

// onConnect is called for each new connection.
func (c *Client) onConnect(nc *nats.Conn) {
	if c.conn.setConnected(nc) {
		c.reconnects.Add(1)
	}
	if r := c.receiver.Load(); r != nil {
		r.markSuspect()
	}
}

// asyncError handles an error that the library reports on its own: usually a subscription
// was too slow and messages were dropped. The receiver of forwards and the intake notice that by the
// numbers of their messages.
func (c *Client) asyncError(sub *nats.Subscription, err error) {
	c.faults.Add(1)
	c.denials.report(err)
	subject := ""
	if sub != nil {
		subject = sub.Subject
	}
	if n, due := c.asyncErrors.Due(time.Now()); due {
		c.log.Warn("nats reports", "subject", subject, "err", err, "times", n)
	}
}
