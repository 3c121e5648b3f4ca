package bridge

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Routes is what a router hands messages to. All functions are safe for concurrent
// use; Push, Flush, Forward, Beat, Withdraw and Receipt never wait for the network.
type Routes struct {
	// LatestOnly restores the Node service's rule: a user's newest socket gets
	// everything, older ones nothing.
	LatestOnly bool
	// AckTimeout is how long a page has to confirm a message whose sender asks for that.
	AckTimeout time.Duration
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
	// Beat tells all nodes which term it is, how far their links are, and up to which sequence
	// messages are handed on.
	Beat func(term, handed uint64)
	// Nodes lists the nodes that live, this one among them: what cannot be looked up goes to all.
	Nodes func() []NodeID
	// Unregistered lists the nodes with sockets that the store does not know of: each message goes
	// to these too.
	Unregistered func() []NodeID
	// Withdraw records that a message was withdrawn, so that no later leader delivers it, and
	// calls done once. An error leaves that open: the sender must not be told "offline" then.
	Withdraw func(term uint64, o Offset, done func(error))
	// DeadLetter stores a message that breaks the rules, with the reason.
	DeadLetter func(context.Context, *Message, *InvalidError) error
	// Settled is told of each message that has its outcome, for operators who
	// watch. It must not wait. Nil: no operator does.
	Settled func(Settlement)
	// Records keeps what happened to each message. Nil: nothing is kept.
	Records RecordSaver
	// Begin follows messages through their steps. Nil: none is followed.
	Begin BeginSpan
	// Metrics shows what the router counts. Nil: nobody sees it.
	Metrics prometheus.Registerer
	// Receipt tells the subject what became of a message.
	Receipt func(subject string, r Receipt)
}

// routerStore is the part of the store that routing needs.
type routerStore interface {
	Locate(ctx context.Context, users []UserID) []Located
}

// Router takes the stream's messages in batches, in order, puts each into the index, and
// brings it to its user's sockets. It works in two stages that overlap: Route looks up where
// the users of a batch are while the batch before is pushed.
//
// A message is in the index before its user is looked up, and a socket is registered before
// its history is asked for: so it is in the answer, or the look-up finds the socket.
//
// Only the leader routes; a standby calls [Router.Keep]. Keep, [Router.Begin], Route and
// [Router.End] are called by one goroutine, Begin and End once for each term.
type Router struct {
	self    NodeID
	store   routerStore
	index   *Index
	routes  Routes
	log     *slog.Logger
	ledger  Ledger
	metrics *routerMetrics

	recorder recorder

	handed       atomic.Pointer[Offset] // of the last batch of the term that was handed on; nil before
	unlocated    LogLimiter             // lines of look-ups that failed
	lostDead     LogLimiter             // lines of lost dead letters
	refusedSince time.Time              // when the bus began to refuse dead letters for now; zero: it takes them. Owned by Route.

	term *routerTerm // the one in progress; nil: none
}

// NewRouter makes the router of one node.
func NewRouter(self NodeID, store routerStore, index *Index, routes Routes, log *slog.Logger) *Router {
	log = log.With("component", "router")
	r := &Router{self: self, store: store, index: index, routes: routes, log: log, recorder: recorder{saver: routes.Records, log: log}}
	r.metrics = newRouterMetrics(routes.Metrics, &r.ledger)
	return r
}

// Ledger is the account of every message this node has routed.
func (r *Router) Ledger() *Ledger { return &r.ledger }

// routerTerm is what lives as long as one term of this leader.
type routerTerm struct {
	number  uint64
	stop    context.CancelFunc
	batches chan *batch    // sender: Route; receiver: hand; closed by End
	queued  atomic.Int64   // batches that hand has, or will have
	running sync.WaitGroup // hand, beat, recorder, pushes and forwards that wait for their answer, withdrawals
}

// Begin starts a term.
func (r *Router) Begin(term uint64) {
	ctx, stop := context.WithCancel(context.Background())
	t := &routerTerm{number: term, stop: stop, batches: make(chan *batch, 1)}
	r.term = t
	r.handed.Store(nil)
	t.running.Go(func() { r.hand(t) })
	t.running.Go(func() { r.beat(ctx, term) })
	t.running.Go(func() { r.recorder.run(ctx) })
}

// End waits until what was routed is handed on and answered for.
func (r *Router) End(uint64) {
	t := r.term
	close(t.batches)
	t.stop()
	t.running.Wait()
	r.recorder.save()
	r.term = nil
}

// Progress is up to where the messages of this node's last term were handed on; zero when none
// was. A leader that comes after this one begins behind it. Safe for concurrent use.
func (r *Router) Progress() Offset {
	if handed := r.handed.Load(); handed != nil {
		return *handed
	}
	return Offset{}
}

// Keep puts messages into the index and does nothing else with them.
func (r *Router) Keep(msgs []Message) {
	b := newBatch(msgs, 0)
	r.index.Append(b.entries)
	r.index.Advance(b.last)
}

// Route decodes a batch, puts it into the index and queues it for its sockets. A message whose
// user cannot be looked up goes to all nodes. Route returns an error only when ctx has ended;
// the batch was then not handed on, and may safely be routed again.
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
	b.index(r.index)
	r.locate(ctx, b)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.ledger.receive(len(msgs))
	for _, d := range b.dead {
		r.ledger.settle(Dead)
		r.receipt(d.msg, Receipt{Outcome: Dead, Offset: d.msg.Offset, Topic: d.msg.Topic, Code: d.why.Code})
		user := GuessUser(d.msg.Body)
		if r.routes.Settled != nil {
			r.routes.Settled(Settlement{Offset: d.msg.Offset, User: user, Topic: d.msg.Topic, Outcome: Dead, Code: d.why.Code, Read: b.read})
		}
		r.recorder.add(func(r *DeliveryRecord) {
			r.Offset, r.Subject, r.User, r.Read, r.Settled, r.Outcome, r.Code = d.msg.Offset, d.msg.Subject, user, b.read, time.Now(), Dead, d.why.Code
		})
	}
	r.handOn(b)
	return nil
}

// few is how many messages are handed on at once by the goroutine that appended them,
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

// locate looks the users of a batch up.
func (r *Router) locate(ctx context.Context, b *batch) {
	users := b.users()
	if len(users) == 0 {
		return
	}
	found := r.store.Locate(ctx, users)
	b.located = time.Now()
	var failed error
	for i := range b.flights {
		f := &b.flights[i]
		at := &found[f.user]
		if f.sockets = at.Sockets; at.Err != nil {
			f.unlocated, failed = true, at.Err
		}
	}
	r.metrics.located(found)
	if failed != nil && ctx.Err() == nil {
		if times, due := r.unlocated.Due(time.Now()); due {
			r.log.LogAttrs(ctx, slog.LevelWarn, "users cannot be looked up, their messages go to all nodes", slog.Any("err", failed), slog.Int("times", times))
		}
	}
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
		r.metrics.deadLost.Inc()
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

// hand pushes and forwards batches in order.
func (r *Router) hand(t *routerTerm) {
	for b := range t.batches {
		r.handBatch(t, b)
		t.queued.Add(-1)
	}
}

// beat tells every node each second how far its link is, and how far the term has come: before its
// first message is handed on, by what is indexed.
func (r *Router) beat(ctx context.Context, term uint64) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		at := r.Progress()
		if at.IsZero() {
			at = r.index.Horizon()
		}
		r.routes.Beat(term, at.Seq)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
