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

// IntakeHandler is what an intake gives messages to. Its functions but Handed are called by
// one goroutine: Keep any number of times, and for each term Begin, any number of Keep and
// Route, End.
type IntakeHandler struct {
	// Keep takes messages, strictly in order, that this node only has to know of: it stands by,
	// or an earlier leader has handed them on. It may be given some again.
	Keep  func(batch []bridge.Message)
	Begin func(term uint64)
	// Route takes the next messages, strictly in order, and owns the slice. It
	// returns nil when they are on their way, and an error only when
	// ctx has ended: then a later leader reads them again.
	Route func(ctx context.Context, term uint64, batch []bridge.Message) error
	End   func(term uint64)
	// Handed is up to where messages were handed on in the term; zero when none was.
	Handed func() bridge.Offset
}

// IntakeConfig says how an intake reads.
type IntakeConfig struct {
	// Window is how old messages are still of use: older ones are in no history.
	Window time.Duration
	// Readers is how many nodes read the stream, the leader among them: the others stand by with
	// an index of their own. 0: all.
	Readers int
	// Metrics shows what the intake meets. Nil: nobody sees it.
	Metrics prometheus.Registerer
}

// Intake is the ordered read of the stream: by the node that leads, and by those that stand by.
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

	stop    context.Context // ended by Drain: read no more
	drain   context.CancelFunc
	kill    context.CancelFunc // ends the work in hand too
	killed  context.Context
	started atomic.Bool
	done    chan struct{} // closed when Run returns

	gaps    bridge.LogLimiter
	metrics intakeMetrics
	leading atomic.Bool
	read    atomic.Uint64 // sequence of the last message taken

	// position is the last message that this node knows; zero before it has read any. Owned by
	// the one that reads: see standBy and lead.
	position bridge.Offset
	current  atomic.Bool // it has read the stream to its end at some time, and reads on
}

// NewIntake makes an intake, which keeps the index and has the history answer while this node
// leads.
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
	i.election = election{
		self: self, lease: lease, told: hand.wake, heard: &c.heardTerm, log: log,
		warm: i.current.Load, learned: c.streams.setLineage,
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

// Withdraw records that a message of this term was withdrawn: see [bridge.Routes].
func (i *Intake) Withdraw(term uint64, o bridge.Offset, done func(error)) {
	i.withdrawals.Withdraw(term, o, done)
}

// Run campaigns for the lease and reads the stream, as its leader or standing by. It
// returns nil after [Intake.Drain], and the context's cause when ctx ends, which
// also ends the batch in hand: to stop in order, keep ctx alive and call Drain.
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

// Drain stops reading, lets the batch in hand finish and then resigns. Where other
// nodes live it returns when one of them reads the stream, which takes milliseconds,
// or after two seconds. When ctx ends first the batch is abandoned: the next leader
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
		<-i.done // Route ends with its context, resigning has its own limit
		return fmt.Errorf("drain intake: %w", context.Cause(ctx))
	}
}

// Leading reports whether this node reads the stream now.
func (i *Intake) Leading() bool { return i.leading.Load() }

// Lag is how far the leader has come.
type Lag struct {
	Read uint64 // sequence of the last message read; zero when nothing was
	Last uint64 // the stream's last sequence, at most five seconds old
}

// Lag is of interest only while Leading.
func (i *Intake) Lag() Lag {
	read := i.read.Load()
	return Lag{Read: read, Last: max(read, i.client.streams.state().last)}
}

// standBy keeps the index, if this node is one of the readers, until the returned function is
// called. That may be called more than once.
func (i *Intake) standBy(ctx context.Context) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(i.stop, cancel)
	var reading sync.WaitGroup
	reading.Go(func() {
		for i.awaitTurn(ctx) {
			i.readFrom(ctx, ctx, session{intake: i, mark: *i.election.seen.Load()})
		}
	})
	return func() {
		stop()
		cancel()
		reading.Wait()
	}
}

// readersEvery is how often a node that does not read looks whether it is to.
const readersEvery = 2 * time.Second

// awaitTurn waits until this node is one of the readers. It reports false when ctx has ended.
func (i *Intake) awaitTurn(ctx context.Context) bool {
	for ctx.Err() == nil {
		if i.election.seen.Load() != nil && i.isReader() {
			return true
		}
		wait := readersEvery
		if i.election.seen.Load() == nil {
			wait = renewEvery // what the stream should be is not known yet
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
	return false
}

// isReader reports whether this node is one of those that read. The first ones by name are.
func (i *Intake) isReader() bool {
	return i.cfg.Readers <= 0 || slices.Index(i.client.Nodes(), i.client.node) < i.cfg.Readers
}

// lead reads the stream for one term, and hands on what is after handed. ctx is the term's: work
// in hand goes on until it ends, while reading also stops when the intake is drained.
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
			stop() // a greater term has begun: another campaign exceeds it
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
		i.position = handed.Offset // what is after it was perhaps not handed on; zero: the window is read again
	}
	i.readFrom(reading, ctx, session{intake: i, term: term, mark: handed, handed: handed.Offset})
}

// readFrom reads on until reading ends, through every failure of NATS. s says what for.
func (i *Intake) readFrom(reading, work context.Context, s session) {
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
			s.mark = *i.election.seen.Load()
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

// lost says that messages were not in the stream any more when the intake came
// to them: it was behind by more than the stream's limits, or it was purged. Every node asks
// for its sockets again, so that those are told which may have missed one.
func (i *Intake) lost(n uint64, last bridge.Offset) {
	seq := last.Seq
	i.index.Lose(last)
	i.client.forwarder.skip()
	i.metrics.lost.Add(float64(n))
	if times, due := i.gaps.Due(time.Now()); due {
		i.log.Error("messages left the stream before they were read", "lost", n, "stream_seq", seq, "times", times)
	}
}
