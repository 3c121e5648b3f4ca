package subscriber

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/codewar/socketbridge/bridge"
)

// ErrNoLetter means that there is no dead letter of that sequence, or no longer.
var ErrNoLetter = errors.New("no such dead letter")

// DeadLetters is an operator's access to the messages that broke the rules. It
// needs NATS and not a bridge, and may be used beside any number of them: what
// another operator deletes at the same time is skipped. Errors that wrap
// [bridge.ErrUnavailable] concern all letters, others only the one.
type DeadLetters struct {
	cfg    Config
	nc     *nats.Conn
	js     jetstream.JetStream
	stream jetstream.Stream // the dead letters'
	closed chan struct{}    // closed when the connection is
}

// OpenDeadLetters connects to NATS: to cfg.URL, or without one to the embedded
// server of a bridge that runs on this machine. Unlike [Open] it fails when NATS
// is not there, and a connection that is lost is not made again.
func OpenDeadLetters(ctx context.Context, cfg Config, log *slog.Logger) (*DeadLetters, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	d := &DeadLetters{cfg: cfg, closed: make(chan struct{})}
	if err := d.connect(log.With("component", "dead letters")); err != nil {
		return nil, err
	}
	if err := d.open(ctx); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

func (d *DeadLetters) connect(log *slog.Logger) (err error) {
	opts := append(identity(d.cfg),
		nats.Name("codewar-bridge dead letters"),
		nats.NoReconnect(),
		nats.Timeout(dialLimit),
		nats.ClosedHandler(func(*nats.Conn) { close(d.closed) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Warn("nats reports", "err", err) }),
	)
	if d.cfg.URL != "" {
		if d.nc, err = dial(d.cfg, opts); err != nil {
			return fmt.Errorf("%w: %w", bridge.ErrUnavailable, err)
		}
		return nil
	}
	addr := reachable(d.cfg.Embedded.Addr)
	if d.nc, err = nats.Connect("nats://"+addr, opts...); err != nil {
		return fmt.Errorf("connect to the nats server inside a bridge at %s, see nats.embedded.addr and nats.url: %w: %w", addr, bridge.ErrUnavailable, err)
	}
	return nil
}

// reachable is where a server on this machine that listens on addr is reached.
func reachable(addr string) string {
	host, port, _ := net.SplitHostPort(addr) // validated
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

func (d *DeadLetters) open(ctx context.Context) (err error) {
	if d.js, err = jetstream.New(d.nc, jetstream.WithDefaultTimeout(apiLimit)); err != nil {
		return fmt.Errorf("use jetstream: %w", err)
	}
	name := d.cfg.DeadLetter.Stream
	if d.stream, err = d.js.Stream(ctx, name); err != nil {
		return fmt.Errorf("look up stream %s, which a bridge creates at its first start: %w", name, fault(ctx, err))
	}
	return nil
}

// Close ends the connection.
func (d *DeadLetters) Close() {
	d.nc.Close()
	<-d.closed
}

// Letter returns one letter with its body, or [ErrNoLetter].
func (d *DeadLetters) Letter(ctx context.Context, seq uint64) (Letter, error) {
	m, err := d.stream.GetMsg(ctx, seq)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return Letter{}, ErrNoLetter
	case err != nil:
		return Letter{}, fmt.Errorf("read dead letter: %w", fault(ctx, err))
	}
	l := readLetter(m.Sequence, m.Time, m.Subject, m.Header, len(m.Data))
	l.Body = m.Data
	return l, nil
}

// Delete removes one letter. [ErrNoLetter] says that it was not there.
func (d *DeadLetters) Delete(ctx context.Context, seq uint64) error {
	err := d.stream.DeleteMsg(ctx, seq)
	if err == nil {
		return nil
	}
	// The server has no code of its own for "was not there".
	if _, gone := d.stream.GetMsg(ctx, seq); errors.Is(gone, jetstream.ErrMsgNotFound) {
		return ErrNoLetter
	}
	return fmt.Errorf("delete dead letter: %w", fault(ctx, err))
}

// fault tells what the server refused from what never got an answer, which is
// [bridge.ErrUnavailable].
func fault(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, bridge.ErrUnavailable) {
		return err
	}
	if answer, ok := errors.AsType[jetstream.JetStreamError](err); ok && answer.APIError() != nil {
		return err
	}
	return fmt.Errorf("%w: %w", bridge.ErrUnavailable, err)
}
