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

// connection is the state of the connection to NATS. Reading it never waits: the client
// library holds its own lock while it dials, for up to two seconds a try. Safe for concurrent use.
type connection struct {
	log *slog.Logger

	mu            sync.Mutex // guards all below
	live          context.Context
	end           context.CancelCauseFunc // of live; NATS is available until it is called
	logged        bool                    // that NATS is not available
	everConnected bool
	lastErr       error         // the last reason why NATS is not available
	maxBytes      int           // of a message, as the server has said
	server        string        // the URL, or the last one, without credentials
	changed       chan struct{} // closed and replaced when NATS becomes available or unavailable
}

// errLost ends requests over a connection that is lost.
var errLost = fmt.Errorf("%w: connection lost", bridge.ErrUnavailable)

func newConnection(log *slog.Logger) *connection {
	live, end := context.WithCancelCause(context.Background())
	end(bridge.ErrUnavailable)
	return &connection{log: log, live: live, end: end, maxBytes: natsMaxPayload, changed: make(chan struct{})}
}

// maxPayload is the most bytes, headers included, that NATS accepts in a message.
func (c *connection) maxPayload() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.maxBytes
}

// url is the URL of the server, or the last one, without credentials.
func (c *connection) url() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.server
}

// change returns a channel that is closed at the next change.
func (c *connection) change() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// while returns a context that also ends when the connection is lost: a request over
// a lost connection is never answered.
func (c *connection) while(ctx context.Context) (context.Context, context.CancelFunc) {
	c.mu.Lock()
	live := c.live
	c.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(live, func() { cancel(context.Cause(live)) })
	return ctx, func() { stop(); cancel(nil) }
}

// use returns a channel that is closed when the connection is lost. The error says why NATS is not
// available at the same moment.
func (c *connection) use() (lost <-chan struct{}, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.live.Err() == nil:
	case c.lastErr == nil:
		err = bridge.ErrUnavailable
	default:
		err = fmt.Errorf("%w: %w", bridge.ErrUnavailable, c.lastErr)
	}
	return c.live.Done(), err
}

// err is nil while NATS is available.
func (c *connection) err() error {
	_, err := c.use()
	return err
}

// setConnected records that NATS is available, and logs the change. It reports whether NATS had been
// available before.
func (c *connection) setConnected(nc *nats.Conn) (again bool) {
	server, maxBytes := nc.ConnectedUrlRedacted(), int(nc.MaxPayload())
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
	again = c.everConnected
	if maxBytes > 0 { // zero: the connection is lost again
		c.maxBytes = maxBytes
	}
	c.server = where
	if again {
		c.log.Info("nats is back", "server", server)
	} else {
		c.log.Info("nats connected", "server", server)
	}
	c.everConnected, c.logged, c.lastErr = true, false, nil
	c.live, c.end = context.WithCancelCause(context.Background())
	c.announceLocked()
	return again
}

// setDisconnected records that NATS is not available, and logs the change.
func (c *connection) setDisconnected(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.logged {
		c.log.Warn("nats is away, trying for ever", "err", why)
		c.logged = true
	}
	if why != nil {
		c.lastErr = why
	}
	if c.live.Err() == nil {
		c.end(errLost)
		c.announceLocked()
	}
}

// announceLocked closes the channel of change. Called with mu held.
func (c *connection) announceLocked() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// natsMaxPayload is the default of nats-server. It is assumed until a server has sent its own.
const natsMaxPayload = 1 << 20

// Times of a connection to NATS.
const (
	// pingEvery is how often the server is asked for an answer. A server that does not answer is noticed
	// after at most three of these; the library's default of two minutes is too long for live clients.
	pingEvery = 1500 * time.Millisecond
	dialLimit = 2 * time.Second
	// drainLimit bounds how long subscriptions may take to finish when the connection is closed.
	drainLimit = 5 * time.Second
)

// connect returns at once: when NATS is not available, the library retries in the background.
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
		// A message that is published while NATS is not available must fail, not wait in a buffer.
		nats.ReconnectBufSize(-1),
		nats.PingInterval(pingEvery),
		nats.MaxPingsOutstanding(2),
		nats.Timeout(dialLimit),
		nats.DrainTimeout(drainLimit),
		nats.ConnectHandler(func(nc *nats.Conn) { c.onConnect(nc) }),
		nats.ReconnectHandler(func(nc *nats.Conn) { c.onConnect(nc) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if !c.closing.Load() {
				c.conn.setDisconnected(err)
			}
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { c.conn.setDisconnected(err) }),
		nats.ClosedHandler(func(*nats.Conn) { close(c.closed) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) { c.asyncError(sub, err) }),
	}
	opts = append(opts, loginOptions(cfg)...)
	if local != nil {
		opts = append(opts, nats.InProcessServer(local))
		cfg.URL = "nats://" + local.Addr().String() // not dialled, but Status shows it
	}
	nc, err := dial(cfg, opts)
	if err != nil {
		return nil, err
	}
	if nc.IsConnected() { // if not, the next try has the reason
		c.conn.setConnected(nc)
	}
	return nc, nil
}

// loginOptions are the login of this client, and the prefix of its inboxes.
func loginOptions(cfg Config) (opts []nats.Option) {
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
		// The text of err has the URL, which may contain a password.
		err = errors.New("not an address")
	}
	if err != nil {
		return nil, fmt.Errorf("connect to nats, see nats.url, nats.creds, nats.nkey and nats.tls: %w", err)
	}
	return nc, nil
}

// remoteOptions are the options that need files. The library reads all files but the authorities again
// for each connection, so that they can be replaced.
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
