package subscriber

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// embedded is a NATS server in this process, with its files and its port.
type embedded struct {
	server *server.Server
	lock   *os.File // held while the server uses the directory; see embedded_crash.go for what it says
	repair *repair
	torn   atomic.Bool // the newest messages may be lost, and no epoch has begun since then
	marked atomic.Bool // the lock file says that the files are in use
}

const (
	// readyLimit is far more than a start takes: 10 ms empty, 2 s with 600,000
	// messages of 200,000 users.
	readyLimit = 30 * time.Second
	// Messages that wait to be stored, beyond which the server drops what core
	// publishers send. Its own 100,000 and 128 MB lost 12 % of a burst of 200,000.
	bufferedMessages = 1_000_000
	bufferedBytes    = 256 << 20
)

// startEmbedded starts a server, or says which setting to change.
func startEmbedded(ctx context.Context, cfg Config, log *slog.Logger) (*embedded, error) {
	opts, err := embeddedOptions(cfg)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Embedded.StoreDir, 0o700); err != nil {
		return nil, fmt.Errorf("nats.embedded.store_dir: %w", err)
	}
	// The server does not lock its files: two would write into one another's.
	lock, err := lockFile(filepath.Join(cfg.Embedded.StoreDir, "bridge.lock"))
	if err != nil {
		return nil, fmt.Errorf("nats.embedded.store_dir %s is used by another process: %w; set nats.embedded.store_dir (NATS_EMBEDDED_STORE_DIR) or nats.url (NATS_URL)", cfg.Embedded.StoreDir, err)
	}
	e := &embedded{lock: lock}
	e.torn.Store(crashed(lock))
	if err := e.start(ctx, cfg.Embedded.Addr, opts, log); err != nil {
		return nil, errors.Join(err, e.stop(context.WithoutCancel(ctx)))
	}
	e.sayWhoCanReachIt(cfg, log)
	return e, nil
}

func (e *embedded) start(ctx context.Context, addr string, opts *server.Options, log *slog.Logger) (err error) {
	// The server only logs that it could not listen, so try first.
	probe, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("nats.embedded.addr %s is taken: %w; set nats.embedded.addr (NATS_EMBEDDED_ADDR) or nats.url (NATS_URL)", addr, err)
	}
	if err := probe.Close(); err != nil {
		return fmt.Errorf("nats.embedded.addr %s: %w", addr, err)
	}
	if e.server, err = server.NewServer(opts); err != nil {
		return fmt.Errorf("start embedded nats: %w", err)
	}
	fatal := &serverLog{log: log.With("component", "nats-server")}
	e.server.SetLoggerV2(fatal, false, false, false)
	e.server.Start()
	limit := readyLimit
	if deadline, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(deadline))
	}
	if !e.server.ReadyForConnections(limit) || !e.server.JetStreamEnabled() {
		return fmt.Errorf("start embedded nats: %w", fatal.reason())
	}
	e.repair = newRepair(e.server, opts, log)
	log.Info("embedded nats is ready", "addr", e.server.Addr().String(), "store_dir", opts.StoreDir)
	return nil
}

// sayWhoCanReachIt logs who may publish messages and read them: the port is open to every process
// that reaches it, of any user of the machine.
func (e *embedded) sayWhoCanReachIt(cfg Config, log *slog.Logger) {
	host, _, _ := net.SplitHostPort(cfg.Embedded.Addr) // validated
	clients := "every process on this machine"
	if !isLoopback(host) {
		clients = "every host that reaches the address"
	}
	if cfg.identities() == 0 {
		log.Warn("embedded nats asks for no login, see nats.embedded.user", "addr", e.server.Addr().String(), "clients", clients)
		return
	}
	log.Info("embedded nats asks for a login", "addr", e.server.Addr().String(), "clients", clients+" that has it")
}

func embeddedOptions(cfg Config) (*server.Options, error) {
	host, service, err := net.SplitHostPort(cfg.Embedded.Addr)
	if err != nil {
		return nil, fmt.Errorf("nats.embedded.addr: %w", err)
	}
	port, err := net.LookupPort("tcp", service)
	if err != nil {
		return nil, fmt.Errorf("nats.embedded.addr: %w", err)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	sync, err := cfg.Embedded.syncInterval()
	if err != nil {
		return nil, err
	}
	return &server.Options{
		ServerName: "bridge-embedded-" + strconv.Itoa(os.Getpid()),
		Host:       host,
		Port:       port,
		NoSigs:     true, // signals are the program's business

		MaxConn: cfg.Embedded.MaxConnections,

		Username:      cfg.User,
		Password:      cfg.Password.Reveal(),
		Authorization: cfg.Token.Reveal(),

		JetStream:              true,
		StoreDir:               cfg.Embedded.StoreDir,
		JetStreamMaxMemory:     64 << 20,
		JetStreamMaxStore:      cfg.Embedded.MaxStore,
		SyncInterval:           sync,
		SyncAlways:             sync == 0,
		StreamMaxBufferedMsgs:  bufferedMessages,
		StreamMaxBufferedSize:  bufferedBytes,
		DisableJetStreamBanner: true,
		PingInterval:           pingEvery,
	}, nil
}

// nats returns the server to connect to, nil when e is.
func (e *embedded) nats() *server.Server {
	if e == nil {
		return nil
	}
	return e.server
}

// isTorn reports once whether the newest messages may be lost; never when e is nil.
func (e *embedded) isTorn() bool { return e != nil && e.torn.Swap(false) }

// use says that the files are in use. It comes when the lease has the epoch that began behind what a
// crash has left: until then the next start finds the crash again. It does nothing when e is nil.
func (e *embedded) use() error {
	if e == nil || e.marked.Swap(true) {
		return nil
	}
	err := markInUse(e.lock)
	e.marked.Store(err == nil)
	return err
}

// repairs returns what starts JetStream again, nil when e is.
func (e *embedded) repairs() *repair {
	if e == nil {
		return nil
	}
	return e.repair
}

// stop ends the server and then lets go of its files.
func (e *embedded) stop(ctx context.Context) error {
	if e.server != nil {
		stopped := make(chan struct{})
		go func() { // ends with the server, which has no deadline of its own
			defer close(stopped)
			e.server.Shutdown()
			e.server.WaitForShutdown()
		}()
		select {
		case <-stopped:
		case <-ctx.Done():
			return fmt.Errorf("stop embedded nats: %w", context.Cause(ctx)) // the lock stays until the process ends
		}
		if e.marked.Load() {
			return errors.Join(markStopped(e.lock), e.lock.Close())
		}
	}
	return e.lock.Close()
}
