package subscriber

import (
	"fmt"
	"log/slog"
	"net"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/codewar/socketbridge/bridge"
)

// cliConn is the connection of a command: to cfg.URL, or without one to the embedded server of a
// bridge that runs on this machine. Unlike a [Client] it fails when NATS is not available, and does
// not reconnect.
type cliConn struct {
	cfg    Config
	nc     *nats.Conn
	js     jetstream.JetStream
	closed chan struct{} // closed when the connection is
}

// dialCLI connects. name is the purpose, for logs and for nats-server.
func dialCLI(cfg Config, name string, log *slog.Logger) (*cliConn, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withNames().withLogin()
	log = log.With("component", name)
	c := &cliConn{cfg: cfg, closed: make(chan struct{})}
	opts := append(loginOptions(cfg),
		nats.Name("codewar-bridge "+name),
		nats.NoReconnect(),
		nats.Timeout(dialLimit),
		nats.ClosedHandler(func(*nats.Conn) { close(c.closed) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Warn("nats reports", "err", err) }),
	)
	var err error
	if cfg.URL != "" {
		if c.nc, err = dial(cfg, opts); err != nil {
			return nil, fmt.Errorf("%w: %w", bridge.ErrUnavailable, err)
		}
	} else {
		addr := dialAddr(cfg.Embedded.Addr)
		if c.nc, err = nats.Connect("nats://"+addr, opts...); err != nil {
			return nil, fmt.Errorf("connect to the nats server inside a bridge at %s, see nats.embedded.addr and nats.url: %w: %w", addr, bridge.ErrUnavailable, err)
		}
	}
	if c.js, err = jetstream.New(c.nc, jetstream.WithDefaultTimeout(apiLimit)); err != nil {
		c.Close()
		return nil, fmt.Errorf("use jetstream: %w", err)
	}
	return c, nil
}

// dialAddr is the address to connect to for a server on this machine that listens on addr.
func dialAddr(addr string) string {
	host, port, _ := net.SplitHostPort(addr) // validated
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// Close closes the connection.
func (c *cliConn) Close() {
	c.nc.Close()
	<-c.closed
}

// Server is the URL of the server, without credentials.
func (c *cliConn) Server() string { return c.nc.ConnectedUrlRedacted() }
