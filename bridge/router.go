package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Routes is what a router hands messages to. All functions are safe for
// concurrent use; Push, Flush, Forward, Beat and Receipt never wait for the network.
type Routes struct {
	// LatestOnly restores the Node service's rule: a user's newest socket gets
	// everything, older ones nothing.
	LatestOnly bool
	// AckTimeout is how long a page has to confirm a message whose sender asks for that.
	AckTimeout time.Duration
	// Traced says whether each message is to leave a trace.
	Traced bool
	// Push gives an envelope to this node's sockets of its user; Flush writes what
	// was pushed, and comes after each batch.
	Push  func(*Envelope) Count
	Flush func()
	// PushAcked does the same with one whose pages are to confirm it, and calls
	// done once, when all have or Envelope.Ack has passed.
	PushAcked func(e *Envelope, done func(Count))
	// Forward hands envelopes to another node, in order, and calls done once:
	// with a count for each, or with an error.
	Forward func(term uint64, node NodeID, batch []*Envelope, done func([]Count, error))
	// Beat tells the nodes which term it is and how far their links are.
	Beat func(term uint64, nodes []NodeID)
	// DeadLetter stores a message that breaks the rules, with the reason.
	DeadLetter func(context.Context, *Message, *InvalidError) error
	// Settled is told of each message that has its outcome, for operators who
	// watch. It must not wait. Nil: nobody is.
	Settled func(Settlement)
	// Begin follows messages through their steps. Nil: none is followed.
	Begin BeginSpan
	// Receipt tells the subject what became of a message.
	Receipt func(subject string, r Receipt)
}

// routerStore is the part of the store that routing needs.
type routerStore interface {
	Log
	SaveTraces(ctx context.Context, blocks []TraceBlock) error
	Nodes(ctx context.Context) ([]NodeID, error)
	SaveCheckpoint(ctx context.Context, term uint64, o Offset) error
}

// Router takes the stream's messages in batches, in order, and brings each to
// its user's sockets. It works in two stages that overlap: Route appends a batch
// to the histories while the batch before is pushed.
//
// Only the leader routes. [Router.Begin], Route and [Router.End] are called by
// one goroutine, Begin and End once for each term.
type Router struct {
	self   NodeID
	store  routerStore
	routes Routes
	log    *slog.Logger
	ledger Ledger
	counts routerCounters
	traces traces

	lostDead     Quiet     // lines of lost dead letters
	refusedSince time.Time // when the bus began to refuse dead letters for now; zero: it takes them. Owned by Route.

	term *routerTerm // of the term in progress
}

// NewRouter makes the router of one node.
func NewRouter(self NodeID, store routerStore, routes Routes, log *slog.Logger) *Router {
	return &Router{self: self, store: store, routes: routes, log: log.With("component", "router")}
}

// Ledger is the account of every message this node has routed.
func (r *Router) Ledger() *Ledger { return &r.ledger }

// routerTerm is what lives as long as one term of this leader.
type routerTerm struct {
	number  uint64
	stop    context.CancelFunc
	batches chan *batch            // sender: Route; receiver: hand; closed by End
	queued  atomic.Int64           // batches that hand has, or will have
	handed  atomic.Pointer[Offset] // of the last batch that was handed on; nil before
	running sync.WaitGroup         // hand, checkpoints, beat, keepTraces, pushes and forwards that wait for their answer, withdrawals
}

// Begin starts a term.
func (r *Router) Begin(term uint64) {
	ctx, stop := context.WithCancel(context.Background())
	t := &routerTerm{number: term, stop: stop, batches: make(chan *batch, 1)}
	r.term = t
	t.running.Go(func() { r.hand(t) })
	t.running.Go(func() { r.keepCheckpoint(ctx, t) })
	t.running.Go(func() { r.beat(ctx, term) })
	t.running.Go(func() { r.keepTraces(ctx) })
}

// End waits until what was appended is handed on and answered for, and saves the
// checkpoint.
func (r *Router) End(uint64) {
	t := r.term
	close(t.batches)
	t.stop()
	t.running.Wait()
	r.save(t, new(Offset))
	r.saveTraces()
	r.term = nil
}

// Route decodes and appends a batch and queues it for its sockets. It tries
// again for as long as the store fails, which is what holds the intake while
// Redis is away. It returns an error only when ctx has ended; the batch was then
// not handed on, and may safely be routed again.
func (r *Router) Route(ctx context.Context, term uint64, msgs []Message) error {
	b := newBatch(msgs, r.routes.AckTimeout)
	if r.routes.Begin != nil {
		r.follow(b)
	}
	for _, d := range b.dead {
		if err := r.deadLetter(ctx, d); err != nil {
			return err
		}
	}
	if len(b.entries) > 0 {
		if err := r.append(ctx, term, b); err != nil {
			return err
		}
		for _, d := range b.leaveOutRefused() {
			if err := r.deadLetter(ctx, d); err != nil {
				return err
			}
		}
		r.counts.located(b.found)
		b.appended = time.Now()
		b.chain()
	}
	r.ledger.receive(len(msgs))
	for _, d := range b.dead {
		r.ledger.settle(Dead)
		r.receipt(d.msg, Receipt{Outcome: Dead, Offset: d.msg.Offset, Topic: d.msg.Topic, Code: d.why.Code})
		user := GuessUser(d.msg.Body)
		if r.routes.Settled != nil {
			r.routes.Settled(Settlement{Offset: d.msg.Offset, User: user, Topic: d.msg.Topic, Outcome: Dead, Code: d.why.Code, Read: b.read})
		}
		r.trace(func(t *Trace) {
			t.Offset, t.Subject, t.User, t.Read, t.Settled, t.Outcome, t.Code = d.msg.Offset, d.msg.Subject, user, b.read, time.Now(), Dead, d.why.Code
		})
	}
	r.handOn(b)
	return nil
}

// few is how many messages are handed on at once by whoever has appended them,
// when no batch is before them: waking another goroutine would take longer.
const few = 8

// handOn hands a batch on, or leaves that to hand while the next one is appended.
func (r *Router) handOn(b *batch) {
	t := r.term
	if len(b.flights) <= few && t.queued.Load() == 0 {
		r.handBatch(t, b)
		return
	}
	t.queued.Add(1)
	t.batches <- b // hand never waits for the network, so neither does this
}

// piece is how many messages are appended at once after the store has failed: a
// batch that takes it longer than it may would take as long each time.
const piece = 256

// append puts a batch into the histories. A store that failed may have come back
// empty, and then this term is over: what was read before has to be appended
// again first, and users that are not registered yet are not offline. So before
// it tries again the store must confirm the term, which a checkpoint at zero
// does and nothing else.
//
// Where the store refuses for good ([ErrRefused]), append halves what it asks for until it knows
// the message, and leaves that one out.
func (r *Router) append(ctx context.Context, term uint64, b *batch) error {
	failed := false
	most := len(b.entries)
	return Retry(ctx, r.log, "append to history", func(ctx context.Context) error {
		if failed {
			if err := r.store.SaveCheckpoint(ctx, term, Offset{}); err != nil {
				return fmt.Errorf("confirm term: %w", err)
			}
		}
		for len(b.found) < len(b.entries) {
			rest := b.entries[len(b.found):]
			if failed {
				most = min(piece, most)
			}
			rest = rest[:min(most, len(rest))]
			found, err := r.store.Append(ctx, rest)
			switch {
			case err == nil:
				most = min(2*most, len(b.entries))
			case !errors.Is(err, ErrRefused):
				failed = true
				return err
			case len(rest) > 1:
				most = len(rest) / 2
				continue
			default:
				b.refused = append(b.refused, len(b.found))
				found = make([]Appended, 1)
				r.log.LogAttrs(ctx, slog.LevelWarn, "the store refuses a message", slog.String("user", string(rest[0].User)),
					slog.Uint64("stream_seq", rest[0].Offset.Seq), slog.Any("err", err))
			}
			if b.found == nil {
				b.found = found // nearly always all of it, which need not be copied
			} else {
				b.found = append(b.found, found...)
			}
		}
		return nil
	})
}

// deadLetterLimit is how long the bus may answer that it does not take dead letters now, before
// messages go on without theirs: the account's storage is full, a stream cannot be created.
const deadLetterLimit = 30 * time.Second

// deadLetter stores an invalid message before the checkpoint can pass it. Where the bus refuses
// the dead letter for good, or has refused all of them for deadLetterLimit, the message
// is counted and logged instead: one message must not hold the intake. While the bus does not
// answer at all deadLetter tries until it does.
func (r *Router) deadLetter(ctx context.Context, d deadMessage) error {
	var refused error
	err := Retry(ctx, r.log, "store dead letter", func(ctx context.Context) error {
		err := r.routes.DeadLetter(ctx, d.msg, d.why)
		lasting := false
		switch {
		case err == nil:
			r.refusedSince = time.Time{}
		case errors.Is(err, ErrNotNow):
			if r.refusedSince.IsZero() {
				r.refusedSince = time.Now()
			}
			lasting = time.Since(r.refusedSince) >= deadLetterLimit
		}
		if lasting || errors.Is(err, ErrRefused) {
			refused, err = err, nil
		}
		return err
	})
	if refused != nil && err == nil {
		r.counts.deadLost.Add(1)
		if times, due := r.lostDead.Due(time.Now()); due {
			r.log.LogAttrs(ctx, slog.LevelError, "dead letter lost, the message is in the stream until it ages out", slog.String("subject", d.msg.Subject),
				slog.Uint64("stream_seq", d.msg.Offset.Seq), slog.String("reason", d.why.Code), slog.Any("err", refused), slog.Int("times", times))
		}
		return nil
	}
	if err == nil {
		r.log.LogAttrs(ctx, slog.LevelWarn, "dead letter", slog.String("subject", d.msg.Subject),
			slog.Uint64("stream_seq", d.msg.Offset.Seq), slog.String("reason", d.why.Code))
	}
	return err
}

func (r *Router) receipt(m *Message, rc Receipt) {
	if subject := m.header(HeaderReceipt); subject != "" {
		rc.At = time.Now().UTC()
		r.routes.Receipt(subject, rc)
	}
}

// saveEvery bounds how often the checkpoint is written, and so how much a new
// leader reads again: at 20,000 messages a second some 2,000.
const saveEvery = 100 * time.Millisecond

// hand pushes and forwards batches in order.
func (r *Router) hand(t *routerTerm) {
	for b := range t.batches {
		r.handBatch(t, b)
		t.queued.Add(-1)
	}
}

// keepCheckpoint saves the checkpoint behind what was handed on, until the term
// ends. It has its own goroutine because messages must not wait for it.
func (r *Router) keepCheckpoint(ctx context.Context, t *routerTerm) {
	var saved Offset
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.save(t, &saved)
		case <-ctx.Done():
			return
		}
	}
}

// save writes the checkpoint when it has moved. Failing costs only re-reading.
func (r *Router) save(t *routerTerm, saved *Offset) {
	handed := t.handed.Load()
	if handed == nil || !handed.After(*saved) {
		return
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), time.Second, fmt.Errorf("save checkpoint: %w", context.DeadlineExceeded))
	defer cancel()
	if err := r.store.SaveCheckpoint(ctx, t.number, *handed); err != nil {
		r.log.LogAttrs(ctx, slog.LevelDebug, "checkpoint not saved", slog.Any("err", err))
		return
	}
	*saved = *handed
}

// beat tells every node each second how far its link is.
func (r *Router) beat(ctx context.Context, term uint64) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if nodes, err := r.store.Nodes(ctx); err == nil {
			r.routes.Beat(term, nodes)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
