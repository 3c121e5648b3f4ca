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

// Sockets are the sockets of this node. *gateway.Hub implements it. Safe for concurrent use; no
// method waits for the network.
type Sockets interface {
	// Push gives an envelope to the sockets of its user. Flush writes what was pushed, and is called
	// after each batch.
	Push(*Envelope) Count
	Flush()
	// PushAcked is Push for an envelope that clients are to confirm. It calls done once, when all
	// have confirmed or Envelope.Ack has passed.
	PushAcked(e *Envelope, done func(Count))
}

// Nodes are the other nodes. *subscriber.Client implements it. Safe for concurrent use; no method
// waits for the network.
type Nodes interface {
	// Forward sends envelopes to another node, in order, and calls done once:
	// with a count for each, or with an error.
	Forward(term uint64, node NodeID, batch []*Envelope, done func([]Count, error))
	// Beat tells all nodes the term, the last number of their forwards, and the sequence up to which
	// messages are dispatched.
	Beat(term, dispatched uint64)
	// Nodes lists the nodes that are alive, and this one. A message whose user cannot be looked up
	// goes to all.
	Nodes() []NodeID
	// Unregistered lists the nodes with sockets that are not in the registry. Every message goes to
	// these too.
	Unregistered() []NodeID
}

// Results records what became of messages. *subscriber.Client implements it. Safe for concurrent use.
type Results interface {
	// Withdraw records that a message was withdrawn, so that no later leader delivers it, and
	// calls done once. It does not wait. After an error the sender must not be told "offline".
	Withdraw(term uint64, o Offset, done func(error))
	// StoreDeadLetter stores an invalid message, with the reason.
	StoreDeadLetter(context.Context, *Message, *InvalidError) error
	// SendReceipt publishes a receipt. It does not wait.
	SendReceipt(subject string, r Receipt)
}

// RouterConfig configures a [Router].
type RouterConfig struct {
	Node NodeID // this one
	// LatestOnly is the rule of the Node service: a user's newest socket receives
	// everything, older ones nothing.
	LatestOnly bool
	// AckTimeout is how long clients may take to confirm a message whose sender asks for that.
	AckTimeout time.Duration
	// Settled is called with each message that has its outcome, for operators who
	// watch. It must not wait. Nil: no operator does.
	Settled func(Settlement)
	// Records saves the delivery record of each message. Nil: none is saved.
	Records RecordSaver
	// Begin begins the spans of messages. Nil: none is traced.
	Begin BeginSpan
	// Metrics registers the metrics of the router. Nil: they are not exported.
	Metrics prometheus.Registerer
}

// routerStore is the part of the store that routing needs.
type routerStore interface {
	Locate(ctx context.Context, users []UserID) []Located
}

// Router takes the stream's messages in batches, in order. It puts each into the index, looks up
// where its user is, and dispatches it to the user's sockets. Two stages overlap: Route looks up
// the users of a batch while the batch before is dispatched.
//
// A message is in the index before its user is looked up, and a socket is registered before it reads
// its history. So either the history has the message, or the look-up finds the socket.
//
// Only the leader routes; a standby calls [Router.Keep]. One goroutine calls Keep, [Router.Begin],
// Route and [Router.End], Begin and End once for each term.
type Router struct {
	cfg     RouterConfig
	store   routerStore
	index   *Index
	sockets Sockets
	nodes   Nodes
	results Results
	log     *slog.Logger
	ledger  Ledger
	metrics *routerMetrics

	recorder recorder

	progress     atomic.Pointer[Offset] // of the last batch of the term that was dispatched; nil before
	unlocated    LogLimiter             // of look-ups that failed
	lostDead     LogLimiter             // of lost dead letters
	refusedSince time.Time              // when NATS began to refuse dead letters for now; zero: it accepts them. Owned by Route.

	term *routerTerm // the current one; nil: none
}

// NewRouter makes the router of one node.
func NewRouter(cfg RouterConfig, store routerStore, index *Index, sockets Sockets, nodes Nodes, results Results, log *slog.Logger) *Router {
	log = log.With("component", "router")
	r := &Router{
		cfg: cfg, store: store, index: index, sockets: sockets, nodes: nodes, results: results, log: log,
		recorder: recorder{saver: cfg.Records, log: log},
	}
	r.metrics = newRouterMetrics(cfg.Metrics, &r.ledger)
	return r
}

// Ledger is the account of every message this node has routed.
func (r *Router) Ledger() *Ledger { return &r.ledger }

// routerTerm is what lives as long as one term of this leader.
type routerTerm struct {
	number  uint64
	stop    context.CancelFunc
	batches chan *batch    // sender: Route; receiver: dispatchAll; closed by End
	queued  atomic.Int64   // batches that dispatchAll has or will have
	running sync.WaitGroup // dispatchAll, beat, recorder, pushes and forwards that wait for their answer, withdrawals
}

// Begin starts a term.
func (r *Router) Begin(term uint64) {
	ctx, stop := context.WithCancel(context.Background())
	t := &routerTerm{number: term, stop: stop, batches: make(chan *batch, 1)}
	r.term = t
	r.progress.Store(nil)
	t.running.Go(func() { r.dispatchAll(t) })
	t.running.Go(func() { r.beat(ctx, term) })
	t.running.Go(func() { r.recorder.run(ctx) })
}

// End waits until what was routed is dispatched and every outcome is known.
func (r *Router) End(uint64) {
	t := r.term
	close(t.batches)
	t.stop()
	t.running.Wait()
	r.recorder.save()
	r.term = nil
}

// Progress is the offset up to which the messages of this node's last term were dispatched; zero when
// none was. The next leader begins after it. Safe for concurrent use.
func (r *Router) Progress() Offset {
	if o := r.progress.Load(); o != nil {
		return *o
	}
	return Offset{}
}

// Keep puts messages into the index and does nothing else with them.
func (r *Router) Keep(msgs []Message) {
	b := newBatch(msgs, 0)
	r.index.Append(b.envelopes)
	r.index.Advance(b.last)
}

// Route decodes a batch, puts it into the index, looks up its users, and queues it for its sockets.
// A message whose user cannot be looked up goes to all nodes. Route returns an error only when ctx
// has ended; the batch was then not dispatched, and may be routed again.
func (r *Router) Route(ctx context.Context, term uint64, msgs []Message) error {
	b := newBatch(msgs, r.cfg.AckTimeout)
	if r.cfg.Begin != nil {
		r.sample(b)
	}
	for _, m := range b.invalid {
		if err := r.deadLetter(ctx, m); err != nil {
			return err
		}
	}
	b.index(r.index)
	r.locate(ctx, b)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.ledger.receive(len(msgs))
	for _, m := range b.invalid {
		r.finishInvalid(b, m)
	}
	r.queue(b)
	return nil
}

// finishInvalid is finish for an invalid message, whose dead letter is stored.
func (r *Router) finishInvalid(b *batch, m invalidMessage) {
	r.ledger.settle(Dead)
	r.receipt(m.msg, Receipt{Outcome: Dead, Offset: m.msg.Offset, Topic: m.msg.Topic, Code: m.why.Code})
	user := FindUser(m.msg.Body)
	if r.cfg.Settled != nil {
		r.cfg.Settled(Settlement{Offset: m.msg.Offset, User: user, Topic: m.msg.Topic, Outcome: Dead, Code: m.why.Code, Read: b.read})
	}
	r.recorder.add(func(d *DeliveryRecord) {
		d.Offset, d.Subject, d.User, d.Read, d.Settled, d.Outcome, d.Code = m.msg.Offset, m.msg.Subject, user, b.read, time.Now(), Dead, m.why.Code
	})
}

// inlineBatchMax is how many messages the goroutine of Route dispatches itself, when no batch is
// queued: waking another goroutine would take longer.
const inlineBatchMax = 8

// queue dispatches a small batch, or leaves it to dispatchAll while Route goes on.
func (r *Router) queue(b *batch) {
	t := r.term
	if len(b.deliveries) <= inlineBatchMax && t.queued.Load() == 0 {
		r.dispatch(t, b)
		return
	}
	t.queued.Add(1)
	t.batches <- b // dispatchAll never waits for the network, so neither does this
}

// locate looks up the sockets of the users of a batch.
func (r *Router) locate(ctx context.Context, b *batch) {
	users := b.users()
	if len(users) == 0 {
		return
	}
	found := r.store.Locate(ctx, users)
	b.located = time.Now()
	var failed error
	for i := range b.deliveries {
		d := &b.deliveries[i]
		at := &found[d.user]
		if d.sockets = at.Sockets; at.Err != nil {
			d.unlocated, failed = true, at.Err
		}
	}
	r.metrics.located(found)
	if failed != nil && ctx.Err() == nil {
		if times, due := r.unlocated.Due(time.Now()); due {
			r.log.LogAttrs(ctx, slog.LevelWarn, "users cannot be looked up, their messages go to all nodes", slog.Any("err", failed), slog.Int("times", times))
		}
	}
}

// deadLetterLimit is how long NATS may refuse all dead letters for now, for example because the
// account's storage is full, before messages go on without theirs.
const deadLetterLimit = 30 * time.Second

// deadLetter stores an invalid message before the intake moves past it. When NATS refuses the dead
// letter permanently, or has refused all of them for deadLetterLimit, the message is counted and
// logged instead: one message must not block the intake. While NATS does not answer, deadLetter
// retries until it does.
func (r *Router) deadLetter(ctx context.Context, m invalidMessage) error {
	var refused error
	err := Retry(ctx, r.log, "store dead letter", func(ctx context.Context) error {
		err := r.results.StoreDeadLetter(ctx, m.msg, m.why)
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
			r.log.LogAttrs(ctx, slog.LevelError, "dead letter lost, the message is in the stream until it ages out", slog.String("subject", m.msg.Subject),
				slog.Uint64("stream_seq", m.msg.Offset.Seq), slog.String("reason", m.why.Code), slog.Any("err", refused), slog.Int("times", times))
		}
		return nil
	}
	if err == nil {
		r.log.LogAttrs(ctx, slog.LevelWarn, "dead letter", slog.String("subject", m.msg.Subject),
			slog.Uint64("stream_seq", m.msg.Offset.Seq), slog.String("reason", m.why.Code))
	}
	return err
}

func (r *Router) receipt(m *Message, rc Receipt) {
	if subject := m.header(HeaderReceipt); subject != "" {
		rc.At = time.Now().UTC()
		r.results.SendReceipt(subject, rc)
	}
}

// dispatchAll dispatches the queued batches in order.
func (r *Router) dispatchAll(t *routerTerm) {
	for b := range t.batches {
		r.dispatch(t, b)
		t.queued.Add(-1)
	}
}

// beat sends a beat each second. Before the first message of the term is dispatched, it has the
// sequence up to which the stream is indexed.
func (r *Router) beat(ctx context.Context, term uint64) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		at := r.Progress()
		if at.IsZero() {
			at = r.index.Horizon()
		}
		r.nodes.Beat(term, at.Seq)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
