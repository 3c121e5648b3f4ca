package subscriber

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// IntakeHandler is what an intake gives messages to. Its functions are called by
// one goroutine, in the order Begin, any number of Route, End, for each term.
type IntakeHandler struct {
	Begin func(term uint64)
	// Route takes the next messages, strictly in order, and owns the slice. It
	// returns nil when they are appended and on their way, and an error only when
	// ctx has ended: then a later leader reads them again. It saves the checkpoint.
	Route func(ctx context.Context, term uint64, batch []bridge.Message) error
	End   func(term uint64)
}

// Intake is the ordered read of the stream by whichever node leads.
type Intake struct {
	client   *Client
	election election
	handover *handover
	window   time.Duration
	handler  IntakeHandler
	log      *slog.Logger

	stop    context.Context // ended by Drain: read no more
	drain   context.CancelFunc
	kill    context.CancelFunc // ends the work in hand too
	killed  context.Context
	started atomic.Bool
	done    chan struct{} // closed when Run returns

	gaps    bridge.Quiet
	counts  intakeCounters
	leading atomic.Bool
	read    atomic.Uint64 // sequence of the last message given to Route in this term
}

// NewIntake makes an intake. window is how far back reading starts when there is
// no checkpoint: older messages are of no use because histories forget them too.
func (c *Client) NewIntake(store Checkpoints, window time.Duration, h IntakeHandler) *Intake {
	log := c.root.With("component", "intake")
	hand := newHandover(c, log)
	self := leaseRecord{Node: c.node, Holder: rand.Text()}
	lease := newNATSLease(c, self.Holder)
	i := &Intake{
		client: c, handover: hand, window: window, handler: h, log: log, done: make(chan struct{}),
		election: election{
			self: self, lease: lease, store: store, told: hand.told, heard: &c.heardTerm, log: log,
			listen: func() (func(), error) { return lease.listen(log) },
		},
	}
	i.stop, i.drain = context.WithCancel(context.Background())
	i.killed, i.kill = context.WithCancel(context.Background())
	return i
}

// Run campaigns for the lease and, while this node leads, reads the stream. It
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

	deaf, err := i.handover.listen()
	if err != nil {
		return err
	}
	resigned := i.election.run(work, i.stop, i.lead)
	deaf()
	if resigned {
		i.handover.give(work)
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

// lead reads the stream for one term. ctx is the term's: work in hand goes on
// until it ends, while reading also stops when the intake is drained.
func (i *Intake) lead(ctx context.Context, term uint64) {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(i.stop, stop)()

	i.counts.terms.Add(1)
	i.handler.Begin(term)
	i.leading.Store(true)
	defer func() {
		i.leading.Store(false)
		i.handler.End(term)
	}()

	var from bridge.Offset
	if err := bridge.Retry(reading, i.log, "read checkpoint", func(ctx context.Context) (err error) {
		_, from, err = i.election.store.Checkpoint(ctx)
		return err
	}); err != nil {
		return
	}
	i.read.Store(from.Seq)
	i.readFrom(reading, ctx, term, from)
}

// readFrom reads on after an offset until reading ends, through every failure of NATS.
func (i *Intake) readFrom(reading, work context.Context, term uint64, last bridge.Offset) {
	wait := bridge.Backoff{First: 50 * time.Millisecond, Most: 2 * time.Second}
	for quiet := false; ; {
		changed := i.client.conn.change()
		s := session{intake: i, term: term, last: last, prefix: i.client.cfg.SubjectPrefix + "."}
		err := s.run(reading, work)
		last = s.last
		if reading.Err() != nil {
			return
		}
		i.counts.stops.Add(1)
		if s.begun {
			wait.Reset()
			quiet = false
		}
		if !quiet {
			i.log.Warn("reading interrupted, trying until it works", "stream_seq", last.Seq, "err", err)
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
// to them: it was behind by more than the stream's limits, or somebody purged.
func (i *Intake) lost(n, seq uint64) {
	i.counts.lost.Add(n)
	if times, due := i.gaps.Due(time.Now()); due {
		i.log.Error("messages left the stream before they were read", "lost", n, "stream_seq", seq, "times", times)
	}
}
