package subscriber

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/codewar/socketbridge/bridge"
)

// IntakeHandler receives the messages of an intake. One goroutine calls its functions, except
// Handed: Keep any number of times, and for each term Begin, any number of Keep and Route, then End.
type IntakeHandler struct {
	// Keep receives messages, strictly in order, that this node only indexes: it stands by,
	// or an earlier leader has dispatched them. Some may come twice.
	Keep  func(batch []bridge.Message)
	Begin func(term uint64)
	// Route receives the next messages, strictly in order, and owns the slice. It
	// returns an error only when ctx has ended: then a later leader reads them again.
	Route func(ctx context.Context, term uint64, batch []bridge.Message) error
	End   func(term uint64)
	// Handed is the offset up to which messages were dispatched in the term; zero: none.
	Handed func() bridge.Offset
}

// IntakeConfig configures an [Intake].
type IntakeConfig struct {
	// Window is the age up to which messages are in histories. Older ones are not dispatched.
	Window time.Duration
	// Readers is how many nodes read the stream: the leader, and standbys with an index of their
	// own. 0: all.
	Readers int
	// Metrics exposes the counters of the intake. Nil: no metrics are exposed.
	Metrics prometheus.Registerer
}

// Intake reads the stream in order, on the leader and on each standby.
type Intake struct {
	client      *Client
	index       *bridge.Index
	history     *History
	withdrawals *withdrawals
	election    election
	handover    *handover
	cfg         IntakeConfig
	handler     IntakeHandler
	log         *slog.Logger

	stop    context.Context // ended by Drain: stop reading
	drain   context.CancelFunc
	kill    context.CancelFunc // ends the batch in hand too
	killed  context.Context
	started atomic.Bool
	done    chan struct{} // closed when Run returns

	gaps    bridge.LogLimiter
	metrics intakeMetrics
	leading atomic.Bool
	read    atomic.Uint64 // sequence of the last message routed

	// position is the last message that this node has indexed; zero: none. Owned by
	// the goroutine that reads: see standBy and lead.
	position bridge.Offset
	current  atomic.Bool // this node has read the stream to its end, and goes on reading
}

// NewIntake makes an intake. It writes the index, and the history answers while this node leads.
func (c *Client) NewIntake(index *bridge.Index, history *History, cfg IntakeConfig, h IntakeHandler) *Intake {
	log := c.root.With("component", "intake")
	hand := newHandover(c, log)
	self := leaseRecord{Node: c.node, Holder: rand.Text()}
	lease := newNATSLease(c, self.Holder)
	i := &Intake{
		client: c, index: index, history: history, withdrawals: newWithdrawals(c, index, cfg.Window, log),
		handover: hand, cfg: cfg, handler: h, log: log, done: make(chan struct{}),
	}
	i.metrics = newIntakeMetrics(cfg.Metrics, i)
	c.withdrawals.Store(i.withdrawals)
	i.election = election{
		self: self, lease: lease, wake: hand.wake, heard: &c.heardTerm, log: log,
		hasIndex: i.current.Load, setLineage: c.streams.setLineage,
		progress: func() bridge.StoredMessage {
			o := h.Handed()
			return bridge.StoredMessage{Offset: o, Stored: index.StoredAt(o)}
		},
		listen: func() (func(), error) { return lease.listen() },
	}
	i.stop, i.drain = context.WithCancel(context.Background())
	i.killed, i.kill = context.WithCancel(context.Background())
	return i
}

// Run campaigns for the lease and reads the stream, as the leader or as a standby. It
// returns nil after [Intake.Drain], and the context's cause when ctx ends, which
// also ends the batch in hand: for an orderly stop keep ctx alive and call Drain.
// Run may be called once.
func (i *Intake) Run(ctx context.Context) error {
	if i.started.Swap(true) {
		return fmt.Errorf("run intake: it has run before")
	}
	defer close(i.done)
	work, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(i.killed, func() { cancel(context.Canceled) })()

	unsubscribe, err := i.client.subscribe(i.handover.subject, "listen for leaders that resign", i.handover.onResign)
	if err != nil {
		return err
	}
	idle := i.standBy(work)
	resigned := i.election.run(work, i.stop, func(ctx context.Context, term uint64, handed bridge.StoredMessage) {
		idle()
		i.lead(ctx, term, handed)
		if i.stop.Err() == nil {
			idle = i.standBy(work)
		}
	})
	idle()
	unsubscribe()
	if resigned {
		i.handover.handOver(work)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// Drain stops reading, lets the batch in hand finish and then releases the lease. With other
// nodes it returns when one of them reads the stream, which takes milliseconds,
// or after two seconds. When ctx ends first, the batch is abandoned and the next leader
// reads it again. Run returns before Drain does.
func (i *Intake) Drain(ctx context.Context) error {
	i.drain()
	if !i.started.Load() {
		return nil
	}
	select {
	case <-i.done:
		return nil
	case <-ctx.Done():
		i.kill()
		<-i.done // Route ends with its context, and the release of the lease has its own limit
		return fmt.Errorf("drain intake: %w", context.Cause(ctx))
	}
}

// Leading reports whether this node reads the stream now.
func (i *Intake) Leading() bool { return i.leading.Load() }

// Lag is the progress of the leader.
type Lag struct {
	Read uint64 // sequence of the last message read; zero: none
	Last uint64 // the stream's last sequence, at most five seconds old
}

// Lag returns the progress of this node; it is meaningful only while Leading.
func (i *Intake) Lag() Lag {
	read := i.read.Load()
	return Lag{Read: read, Last: max(read, i.client.streams.state().last)}
}

// standBy indexes the stream, if this node is one of the readers, until the returned function is
// called. That function may be called more than once.
func (i *Intake) standBy(ctx context.Context) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(i.stop, cancel)
	var reading sync.WaitGroup
	reading.Go(func() { i.withdrawals.follow(ctx, i.current.Load) })
	reading.Go(func() {
		for i.awaitReader(ctx) {
			i.readFrom(ctx, ctx, readSession{intake: i, mark: *i.election.handed.Load()})
		}
	})
	return func() {
		stop()
		cancel()
		reading.Wait()
	}
}

// readersEvery is how often a node that does not read the stream checks whether it should.
const readersEvery = 2 * time.Second

// awaitReader waits until this node is one of the readers. It reports false when ctx has ended.
func (i *Intake) awaitReader(ctx context.Context) bool {
	for ctx.Err() == nil {
		if i.election.handed.Load() != nil && i.isReader() {
			return true
		}
		wait := readersEvery
		if i.election.handed.Load() == nil {
			wait = renewEvery // the lease, which has the epochs of the stream, was not read yet
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
	return false
}

// isReader reports whether this node reads the stream. The first nodes by name do.
func (i *Intake) isReader() bool {
	return i.cfg.Readers <= 0 || slices.Index(i.client.Nodes(), i.client.node) < i.cfg.Readers
}

// lead reads the stream for one term, and routes the messages after handed. The batch in hand goes on
// until ctx, the context of the term, ends. Reading also stops when the intake is drained.
func (i *Intake) lead(ctx context.Context, term uint64, handed bridge.StoredMessage) {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(i.stop, stop)()

	if err := i.history.listen(); err != nil {
		return // the connection is closed
	}
	defer i.history.close()
	if err := bridge.Retry(reading, i.log, "begin to record withdrawals", func(ctx context.Context) error {
		err := i.withdrawals.begin(ctx, term)
		if errors.Is(err, bridge.ErrNotLeader) {
			stop() // a greater term has begun: the next campaign exceeds it
		}
		return err
	}); err != nil {
		return
	}
	i.metrics.terms.Inc()
	i.handler.Begin(term)
	i.leading.Store(true)
	defer func() {
		i.leading.Store(false)
		i.history.close()
		i.handler.End(term)
		i.withdrawals.end()
	}()
	if i.position.After(handed.Offset) {
		i.position = handed.Offset // later messages were perhaps not dispatched; zero: the window is read again
	}
	i.readFrom(reading, ctx, readSession{intake: i, term: term, mark: handed, handed: handed.Offset})
}

// readFrom reads the stream until reading ends, and starts again after each failure of NATS. s is the
// template of its sessions.
func (i *Intake) readFrom(reading, work context.Context, s readSession) {
	wait := bridge.Backoff{First: 50 * time.Millisecond, Most: 2 * time.Second}
	for quiet := false; ; {
		changed := i.client.conn.change()
		next := s
		next.last, next.prefix = i.position, i.client.cfg.SubjectPrefix+"."
		err := next.run(reading, work)
		i.position = next.last
		if s.handed = s.handed.Max(next.handed); reading.Err() != nil {
			return
		}
		if errors.Is(err, errWentBack) {
			if s.term > 0 {
				return // another term begins the epoch
			}
			s.mark = *i.election.handed.Load()
		}
		i.metrics.stops.Inc()
		if next.begun {
			wait.Reset()
			quiet = false
		}
		if !quiet {
			i.log.Warn("reading interrupted, trying until it works", "stream_seq", i.position.Seq, "err", err)
			quiet = true
		}
		select {
		case <-time.After(wait.Next()):
		case <-changed: // NATS went away or is back
		case <-reading.Done():
			return
		}
	}
}

// lost records that messages had left the stream before they were read: the intake was behind by
// more than the stream's limits, or the stream was purged. Every node reads the histories of its
// sockets again, so that clients which may have missed a message are told a gap.
func (i *Intake) lost(n uint64, last bridge.Offset) {
	seq := last.Seq
	i.index.Lose(last)
	i.client.forwarder.skip()
	i.metrics.lost.Add(float64(n))
	if times, due := i.gaps.Due(time.Now()); due {
		i.log.Error("messages left the stream before they were read", "lost", n, "stream_seq", seq, "times", times)
	}
}
