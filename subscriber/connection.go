package subscriber

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/codewar/socketbridge/bridge"
)

// connection follows whether NATS answers. Reading it never waits: the client
// library holds its own lock while it dials, for up to two seconds a try.
type connection struct {
	log *slog.Logger

	mu      sync.Mutex // guards all below
	live    context.Context
	end     context.CancelCauseFunc // of live; NATS is there until it is called
	said    bool                    // that it is away was logged
	was     bool                    // it was there at some time
	why     error                   // the last reason for being away
	most    int                     // bytes of a message that the server takes
	server  string                  // where it is, or was last, without credentials
	changed chan struct{}           // closed and replaced when NATS goes or comes
}

// errLost ends what was asked over a connection that is gone.
var errLost = fmt.Errorf("%w: connection lost", bridge.ErrUnavailable)

func newConnection(log *slog.Logger) *connection {
	live, end := context.WithCancelCause(context.Background())
	end(bridge.ErrUnavailable)
	return &connection{log: log, live: live, end: end, most: natsMaxPayload, changed: make(chan struct{})}
}

// maxPayload is the most bytes, headers included, that NATS takes in a message.
func (c *connection) maxPayload() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.most
}

// url is where NATS is, or was last, without credentials.
func (c *connection) url() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.server
}

// change returns a channel that is closed when NATS next goes or comes.
func (c *connection) change() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// while returns a context that also ends when NATS goes away: what was asked
// over a lost connection is never answered.
func (c *connection) while(ctx context.Context) (context.Context, context.CancelFunc) {
	c.mu.Lock()
	live := c.live
	c.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(live, func() { cancel(context.Cause(live)) })
	return ctx, func() { stop(); cancel(nil) }
}

// gone returns a channel that is closed when NATS goes away, or has gone.
func (c *connection) gone() <-chan struct{} {
	lost, _ := c.use()
	return lost
}

// use returns a channel that is closed when NATS goes away, and, as it is then, the
// reason why it is away already.
func (c *connection) use() (lost <-chan struct{}, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.live.Done(), c.errLocked()
}

// err is nil while NATS is there.
func (c *connection) err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.errLocked()
}

// errLocked is err with mu held.
func (c *connection) errLocked() error {
	switch {
	case c.live.Err() == nil:
		return nil
	case c.why == nil:
		return bridge.ErrUnavailable
	}
	return fmt.Errorf("%w: %w", bridge.ErrUnavailable, c.why)
}

// back records that NATS is there; it says so once per change, and reports whether
// it had been there before and was away.
func (c *connection) back(nc *nats.Conn) (again bool) {
	server, most := nc.ConnectedUrlRedacted(), int(nc.MaxPayload())
	where := server
	if u, err := url.Parse(server); err == nil {
		u.User = nil // not even the name
		where = u.String()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.live.Err() == nil {
		return false
	}
	again = c.was
	if most > 0 { // zero: it is gone again
		c.most = most
	}
	c.server = where
	if c.was {
		c.log.Info("nats is back", "server", server)
	} else {
		c.log.Info("nats connected", "server", server)
	}
	c.was, c.said, c.why = true, false, nil
	c.live, c.end = context.WithCancelCause(context.Background())
	c.tell()
	return again
}

// away records that NATS is gone; it says so once per change.
func (c *connection) away(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.said {
		c.log.Warn("nats is away, trying for ever", "err", why)
		c.said = true
	}
	if why != nil {
		c.why = why
	}
	if c.live.Err() == nil {
		c.end(errLost)
		c.tell()
	}
}

// tell is called with mu held.
func (c *connection) tell() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// natsMaxPayload is assumed until a server says otherwise: it is the default of all.
const natsMaxPayload = 1 << 20

// Times of a connection to NATS.
const (
	// pingEvery notices a server that is gone without a word after at most three
	// of these; the library's default of two minutes is too long for a live page.
	pingEvery = 1500 * time.Millisecond
	dialLimit = 2 * time.Second
	// drainLimit bounds what subscriptions may take to finish at the end.
	drainLimit = 5 * time.Second
)

// connect returns at once, also when NATS is absent: the library goes on trying.
// local is the embedded server, or nil.
func (c *Client) connect(cfg Config, local *server.Server) (*nats.Conn, error) {
	wait := bridge.Backoff{First: 100 * time.Millisecond, Most: 2 * time.Second}
	opts := []nats.Option{
		nats.Name("codewar-bridge " + string(c.node)),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // a password that is being rotated is wrong for a while
		nats.CustomReconnectDelay(func(round int) time.Duration {
			if round == 1 {
				wait.Reset()
			}
			return wait.Next()
		}),
		// Nothing is kept for later: who publishes while NATS is away must be told.
		nats.ReconnectBufSize(-1),
		nats.PingInterval(pingEvery),
		nats.MaxPingsOutstanding(2),
		nats.Timeout(dialLimit),
		nats.DrainTimeout(drainLimit),
		nats.ConnectHandler(func(nc *nats.Conn) { c.back(nc) }),
		nats.ReconnectHandler(func(nc *nats.Conn) { c.back(nc) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if !c.closing.Load() {
				c.conn.away(err)
			}
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { c.conn.away(err) }),
		nats.ClosedHandler(func(*nats.Conn) { close(c.closed) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) { c.asyncError(sub, err) }),
	}
	opts = append(opts, identity(cfg)...)
	if local != nil {
		opts = append(opts, nats.InProcessServer(local))
		cfg.URL = "nats://" + local.Addr().String() // not dialled, but it is what the connection says of itself
	}
	nc, err := dial(cfg, opts)
	if err != nil {
		return nil, err
	}
	if nc.IsConnected() { // if not, the next try tells why
		c.conn.back(nc)
	}
	return nc, nil
}

// identity is what proves who we are, to any server, and where it sends our replies.
func identity(cfg Config) (opts []nats.Option) {
	if cfg.User != "" {
		opts = append(opts, nats.UserInfo(cfg.User, cfg.Password.Reveal()))
	}
	if cfg.Token != "" {
		opts = append(opts, nats.Token(cfg.Token.Reveal()))
	}
	if cfg.InboxPrefix != "" {
		opts = append(opts, nats.CustomInboxPrefix(cfg.InboxPrefix))
	}
	return opts
}

// dial connects to cfg.URL.
func dial(cfg Config, opts []nats.Option) (*nats.Conn, error) {
	remote, err := remoteOptions(cfg)
	if err != nil {
		return nil, err
	}
	nc, err := nats.Connect(cfg.URL, append(opts, remote...)...)
	if _, ok := errors.AsType[*url.Error](err); ok {
		// Its text quotes the address, and with it the password in there.
		err = errors.New("not an address")
	}
	if err != nil {
		return nil, fmt.Errorf("connect to nats, see nats.url, nats.creds, nats.nkey and nats.tls: %w", err)
	}
	return nc, nil
}

// remoteOptions are those that need files. All but the authorities are read again
// for each connection, so that they can be renewed.
func remoteOptions(cfg Config) (opts []nats.Option, err error) {
	if cfg.Creds != "" {
		opts = append(opts, nats.UserCredentials(cfg.Creds))
	}
	if cfg.NKey != "" {
		seed, err := nats.NkeyOptionFromSeed(cfg.NKey)
		if err != nil {
			return nil, fmt.Errorf("nats.nkey: %w", err)
		}
		opts = append(opts, seed)
	}
	if cfg.TLS.CA != "" {
		opts = append(opts, nats.RootCAs(cfg.TLS.CA))
	}
	if cfg.TLS.Cert != "" {
		opts = append(opts, nats.ClientCert(cfg.TLS.Cert, cfg.TLS.Key))
	}
	return opts, nil
}
