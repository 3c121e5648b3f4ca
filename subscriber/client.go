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

// Client is this node's one connection to NATS and all that goes over it.
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

	slow       bridge.LogLimiter
	denials    denials
	reconnects atomic.Uint64 // times that NATS was there again
	faults     atomic.Uint64 // found by its library

	pause func(context.Context, time.Duration) error // between two looks at a stream that went back

	background sync.WaitGroup     // streams, outbox, membership and watch
	stop       context.CancelFunc // ends them
	closing    atomic.Bool        // a disconnect is what we asked for
	closed     chan struct{}      // closed when the connection is
}

// Open connects to NATS, or starts the embedded server when cfg.URL is empty.
// With a URL it does not wait for NATS to be there: [Client.Ready] tells.
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
	if c.embedded != nil { // it is there, so what fails now will not get better
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
	c.background.Go(func() { c.streams.keep(ctx) })
	c.background.Go(func() { c.outbox.run(ctx) })
	c.background.Go(func() { c.membership.run(ctx) })
	c.background.Go(func() { c.inbox.asks.watch(ctx, c.conn) })
	if r := c.embedded.repairs(); r != nil {
		c.background.Go(func() { r.run(ctx, c.streams.look) })
	}
	return nil
}

// Ready returns nil while NATS is there with both streams in place, and
// otherwise why not.
func (c *Client) Ready() error {
	if err := c.conn.err(); err != nil {
		return err
	}
	return c.streams.err()
}

// Reaches reports whether o is an offset of the stream, not beyond its end, and the
// stream keeps every message after it. A no is never older than the call; a yes may be
// some seconds old. An error means that the stream could not be asked.
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

// Close finishes what is under way, for as long as ctx allows, and ends the
// connection and the embedded server. Calls in progress fail; an [Intake] must
// have been drained before.
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

// disconnect lets subscriptions finish and sends what is buffered, then closes.
func (c *Client) disconnect(ctx context.Context) error {
	err := c.nc.Drain()
	if errors.Is(err, nats.ErrConnectionReconnecting) {
		err = nil // NATS is away: it has closed at once
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

// back runs when NATS is there, at first and again.
func (c *Client) back(nc *nats.Conn) {
	if c.conn.back(nc) {
		c.reconnects.Add(1)
	}
	if r := c.receiver.Load(); r != nil {
		r.markSuspect()
	}
}

// asyncError is told what the library finds on its own: mostly that a
// subscription was too slow and messages were dropped. Links notice that by
// their numbering, and the intake by the consumer's.
func (c *Client) asyncError(sub *nats.Subscription, err error) {
	c.faults.Add(1)
	c.denials.report(err)
	subject := ""
	if sub != nil {
		subject = sub.Subject
	}
	if n, due := c.slow.Due(time.Now()); due {
		c.log.Warn("nats reports", "subject", subject, "err", err, "times", n)
	}
}
