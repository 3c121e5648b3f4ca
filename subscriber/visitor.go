package subscriber

import (
	"context"
	"fmt"
	"log/slog"
	"net"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/codewar/socketbridge/bridge"
)

// visitor is the connection of an operator's command: to cfg.URL, or without one
// to the embedded server of a bridge that runs on this machine. Unlike a [Client]
// it fails when NATS is not there, and a connection that is lost is not made again.
type visitor struct {
	cfg    Config
	nc     *nats.Conn
	js     jetstream.JetStream
	closed chan struct{} // closed when the connection is
}

// visit connects; name says what for.
func visit(cfg Config, name string, log *slog.Logger) (*visitor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withNames().withLogin()
	log = log.With("component", name)
	v := &visitor{cfg: cfg, closed: make(chan struct{})}
	if err := v.connect(name, log); err != nil {
		return nil, err
	}
	var err error
	if v.js, err = jetstream.New(v.nc, jetstream.WithDefaultTimeout(apiLimit)); err != nil {
		v.Close()
		return nil, fmt.Errorf("use jetstream: %w", err)
	}
	return v, nil
}

func (v *visitor) connect(name string, log *slog.Logger) (err error) {
	opts := append(identity(v.cfg),
		nats.Name("codewar-bridge "+name),
		nats.NoReconnect(),
		nats.Timeout(dialLimit),
		nats.ClosedHandler(func(*nats.Conn) { close(v.closed) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Warn("nats reports", "err", err) }),
	)
	if v.cfg.URL != "" {
		if v.nc, err = dial(v.cfg, opts); err != nil {
			return fmt.Errorf("%w: %w", bridge.ErrUnavailable, err)
		}
		return nil
	}
	addr := reachable(v.cfg.Embedded.Addr)
	if v.nc, err = nats.Connect("nats://"+addr, opts...); err != nil {
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

// Close ends the connection.
func (v *visitor) Close() {
	v.nc.Close()
	<-v.closed
}

// Server is where the connection goes, without credentials.
func (v *visitor) Server() string { return v.nc.ConnectedUrlRedacted() }

// await returns the next message of a subscription, or why none will come.
func await(ctx context.Context, sub *nats.Subscription) (*nats.Msg, error) {
	m, err := sub.NextMsgWithContext(ctx)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return m, err
}
