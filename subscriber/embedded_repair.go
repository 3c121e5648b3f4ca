package subscriber

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	// repairAfter is how long nothing is stored, in repairFailures attempts or more,
	// before JetStream is started again.
	repairAfter    = 5 * time.Second
	repairFailures = 3
	// repairPause is the least time between two repairs.
	repairPause = 10 * time.Second
)

// repair starts the embedded server's JetStream again when it stores nothing any more.
// A stream that could not write once, because no descriptor or no space was left, takes
// no message until it is loaded anew: publishers get no answer, while the server and
// its API go on. The nil repair, of a server that is not embedded, does nothing.
// Safe for concurrent use.
type repair struct {
	server *server.Server
	opts   *server.Options // that it was started with
	log    *slog.Logger
	wanted chan struct{} // capacity 1

	mu       sync.Mutex // guards what follows
	failures int        // since a message was stored
	since    time.Time  // the first of them
	last     time.Time  // when JetStream was started again
}

func newRepair(s *server.Server, opts *server.Options, log *slog.Logger) *repair {
	return &repair{server: s, opts: opts, log: log.With("component", "nats-server"), wanted: make(chan struct{}, 1)}
}

// stored notes that a message was stored.
func (r *repair) stored() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = 0
}

// failed notes that a message was published and not stored.
func (r *repair) failed(now time.Time) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failures++; r.failures == 1 {
		r.since = now
	}
	if r.failures >= repairFailures && now.Sub(r.since) >= repairAfter && now.Sub(r.last) >= repairPause {
		r.last = now
		signal(r.wanted)
	}
}

// run repairs when it is wanted, until ctx ends, and calls repaired after each time.
func (r *repair) run(ctx context.Context, repaired func()) {
	for {
		select {
		case <-r.wanted:
		case <-ctx.Done():
			return
		}
		r.log.LogAttrs(ctx, slog.LevelError, "embedded nats stores nothing, starting jetstream again", slog.Duration("since", time.Since(r.began())))
		if err := r.restart(); err != nil {
			r.log.LogAttrs(ctx, slog.LevelError, "jetstream not started again", slog.Any("err", err))
			continue // the next message that is not stored wants it again
		}
		r.stored()
		repaired()
	}
}

func (r *repair) began() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.since
}

// restart stops JetStream, which closes its files, and starts it with the files as
// they are.
func (r *repair) restart() error {
	if err := r.server.ShutdownJetStream(); err != nil {
		return fmt.Errorf("stop jetstream: %w", err)
	}
	return r.server.EnableJetStream(&server.JetStreamConfig{
		StoreDir: r.opts.StoreDir, MaxMemory: r.opts.JetStreamMaxMemory, MaxStore: r.opts.JetStreamMaxStore,
		SyncInterval: r.opts.SyncInterval, SyncAlways: r.opts.SyncAlways, Strict: !r.opts.NoJetStreamStrict,
	})
}
