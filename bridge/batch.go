package bridge

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// batch is messages on their way through the router.
type batch struct {
	read       time.Time
	located    time.Time // when the registry had answered
	dispatched time.Time // when pushing began
	last       Offset    // of the last message, invalid ones too
	deliveries []delivery
	envelopes  []*Envelope // of the deliveries, in the same order
	invalid    []invalidMessage

	mu sync.Mutex // guards the attempts once the batch is dispatched
}

// delivery is one envelope of a batch, until its outcome is known.
type delivery struct {
	Envelope
	msg           *Message
	onlyIfPresent bool       // the sender asks not to keep it: it is withdrawn when no socket is there
	withdrawn     bool       // an earlier leader has told the sender that it does not arrive
	user          int        // index of its user among those of the batch
	sockets       []Presence // of its user
	unlocated     bool       // the look-up of the user has failed
	span          Span       // nil when the message is not traced
	attempts      []attempt  // one for each node that has, or may have, sockets of the user
	one           [1]attempt // memory of attempts, as most messages go to one node
	waiting       int        // attempts without an answer
}

// attempt is what one node did with a delivery.
type attempt struct {
	node NodeID
	Count
	err error
}

type invalidMessage struct {
	msg *Message
	why *InvalidError
}

// newBatch decodes messages. It keeps msgs. ack is how long clients may take to confirm a message,
// where the sender asks for that.
func newBatch(msgs []Message, ack time.Duration) *batch {
	b := &batch{
		read:       time.Now(),
		last:       msgs[len(msgs)-1].Offset,
		deliveries: make([]delivery, 0, len(msgs)),
		envelopes:  make([]*Envelope, 0, len(msgs)),
	}
	size := 0
	for i := range msgs {
		size += len(msgs[i].Body)
	}
	room := make([]byte, size) // for all payloads: one allocation
	for i := range msgs {
		m := &msgs[i]
		e, err := decode(m, room[:0:len(m.Body)])
		room = room[len(m.Body):]
		if why, bad := errors.AsType[*InvalidError](err); bad {
			b.invalid = append(b.invalid, invalidMessage{m, why})
			continue
		}
		if m.header(HeaderAck) == AckClient {
			e.Ack = ack
		}
		// Append never grows the slice, so the pointers stay valid.
		b.deliveries = append(b.deliveries, delivery{Envelope: e, msg: m, onlyIfPresent: m.header(HeaderOffline) == OfflineDrop})
		b.envelopes = append(b.envelopes, &b.deliveries[len(b.deliveries)-1].Envelope)
	}
	return b
}

// index puts the messages into the index.
func (b *batch) index(x *Index) {
	for i, found := range x.Append(b.envelopes) {
		d := &b.deliveries[i]
		d.Before, d.withdrawn = found.Before, found.Withdrawn
	}
	x.Advance(b.last)
}

// users are the users of the deliveries, each once.
func (b *batch) users() []UserID {
	if len(b.deliveries) == 0 {
		return nil
	}
	users := make([]UserID, 0, len(b.deliveries))
	known := make(map[UserID]int, len(b.deliveries))
	for i := range b.deliveries {
		d := &b.deliveries[i]
		at, again := known[d.User]
		if !again {
			at = len(users)
			known[d.User] = at
			users = append(users, d.User)
		}
		d.user = at
	}
	return users
}

// forwards are the deliveries that go to each node, in order. One that waits for clients to
// confirm is forwarded alone, so that no other waits with it.
type forwards map[NodeID][][]int

func (fw forwards) add(node NodeID, i int, alone bool) {
	runs := fw[node]
	if alone {
		runs = append(runs, []int{i}, nil)
	} else if len(runs) == 0 {
		runs = [][]int{{i}}
	} else {
		runs[len(runs)-1] = append(runs[len(runs)-1], i)
	}
	fw[node] = runs
}

// dispatch pushes every envelope to its user's sockets on this node, and forwards it to the other
// nodes: one forward for each node. Outcomes follow when the nodes have answered.
func (r *Router) dispatch(t *routerTerm, b *batch) {
	b.dispatched = time.Now()
	remote := make(forwards)
	unregistered := r.nodes.Unregistered()
	for i := range b.deliveries {
		d := &b.deliveries[i]
		d.attempts = d.one[:0]
		for node := range r.targets(d, unregistered) {
			if d.attempt(node) == nil {
				d.attempts = append(d.attempts, attempt{node: node})
				if node != r.cfg.Node {
					remote.add(node, i, d.Ack > 0)
					d.waiting++
				}
			}
		}
		here := d.attempt(r.cfg.Node)
		if here != nil && d.Ack > 0 {
			d.waiting++
			r.pushAcked(t, b, i) // from here on the goroutine of its answers owns the delivery
			continue
		}
		if here != nil {
			here.Count = r.sockets.Push(&d.Envelope)
		}
		if d.waiting == 0 {
			r.complete(t, b, i)
		}
	}
	for node, runs := range remote {
		for _, run := range runs {
			if len(run) > 0 {
				r.forward(t, b, node, run)
			}
		}
	}
	r.sockets.Flush()
	r.progress.Store(&b.last)
}

// attempt returns the attempt at a node, or nil.
func (d *delivery) attempt(node NodeID) *attempt {
	for j := range d.attempts {
		if d.attempts[j].node == node {
			return &d.attempts[j]
		}
	}
	return nil
}

// targets are the nodes that receive a delivery, some of them more than once. unregistered are
// the nodes with sockets that are not in the registry.
func (r *Router) targets(d *delivery, unregistered []NodeID) iter.Seq[NodeID] {
	return func(yield func(NodeID) bool) {
		sockets := d.sockets
		switch {
		case d.withdrawn:
			return
		case d.unlocated:
			slices.Values(r.nodes.Nodes())(yield)
			return
		case r.cfg.LatestOnly && len(sockets) > 1:
			sockets = sockets[len(sockets)-1:]
		}
		for _, p := range sockets {
			if !yield(p.Node) {
				return
			}
		}
		slices.Values(unregistered)(yield)
	}
}

// pushAcked pushes a delivery here. Its count comes when the clients have confirmed.
func (r *Router) pushAcked(t *routerTerm, b *batch, i int) {
	t.running.Add(1)
	r.sockets.PushAcked(&b.deliveries[i].Envelope, func(c Count) {
		defer t.running.Done()
		r.answered(t, b, r.cfg.Node, []int{i}, []Count{c}, nil)
	})
}

func (r *Router) forward(t *routerTerm, b *batch, node NodeID, run []int) {
	envelopes := make([]*Envelope, len(run))
	var spans []Span // of the traced ones, by their index
	for j, i := range run {
		var span Span
		if envelopes[j], span = r.beginForward(&b.deliveries[i]); span != nil {
			spans = append(spans, make([]Span, j+1-len(spans))...)
			spans[j] = span
		}
	}
	t.running.Add(1)
	r.nodes.Forward(t.number, node, envelopes, func(counts []Count, err error) {
		defer t.running.Done()
		r.metrics.forwarded(err)
		endForwards(spans, node, counts, err)
		r.answered(t, b, node, run, counts, err)
	})
}

// answered records one node's answer for some deliveries.
func (r *Router) answered(t *routerTerm, b *batch, node NodeID, run []int, counts []Count, err error) {
	if err == nil && len(counts) != len(run) {
		err = errors.New("wrong number of counts")
	}
	var completed []int
	b.mu.Lock()
	for j, i := range run {
		d := &b.deliveries[i]
		a := d.attempt(node)
		if a.err = err; err == nil {
			a.Count = counts[j]
		}
		if d.waiting--; d.waiting == 0 {
			completed = append(completed, i)
		}
	}
	b.mu.Unlock()
	for _, i := range completed {
		r.complete(t, b, i)
	}
}

// complete gives a delivery whose answers have all come its outcome.
func (r *Router) complete(t *routerTerm, b *batch, i int) {
	d := &b.deliveries[i]
	var sum Count
	unsure := d.unlocated // a socket may have it, or may find it in a replay
	for _, a := range d.attempts {
		sum = sum.Add(a.Count)
		unsure = unsure || a.err != nil && !errors.Is(a.err, ErrNodeGone)
	}
	outcome, final := decide(sum, unsure, d.onlyIfPresent, d.withdrawn)
	switch {
	case final:
		r.finish(b, d, outcome, sum, unsure && d.onlyIfPresent && outcome == Inboxed)
	case !r.index.Withdraw(d.Offset): // a socket has registered since the look-up, and its replay has the message
		sum.Took = 1
		r.finish(b, d, Pushed, sum, false)
	default:
		t.running.Add(1)
		r.results.Withdraw(t.number, d.Offset, func(err error) {
			defer t.running.Done()
			if err != nil {
				r.index.NotWithdrawn(d.Offset)
				r.log.LogAttrs(context.Background(), slog.LevelWarn, "withdrawal not recorded, a later leader may deliver the message", slog.Uint64("stream_seq", d.Offset.Seq), slog.Any("err", err))
				r.finish(b, d, Inboxed, sum, true)
				return
			}
			r.index.Withdrawn(d.Offset)
			r.finish(b, d, Offline, sum, false)
		})
	}
}

// decide is the outcome that counts mean. final is false when the message must be withdrawn first:
// no socket has it, and the sender must know that for certain.
func decide(c Count, unsure, onlyIfPresent, withdrawn bool) (o Outcome, final bool) {
	switch {
	case withdrawn:
		return Offline, true
	case c.Took > 0:
		return Pushed, true
	case c.Seen > 0:
		return Duplicate, true
	case onlyIfPresent && !unsure:
		return "", false
	}
	return Inboxed, true
}

// finish enters the outcome in the ledger, and sends the receipt and the delivery record.
func (r *Router) finish(b *batch, d *delivery, o Outcome, sum Count, unsure bool) {
	r.ledger.settle(o)
	receipt := Receipt{Outcome: o, Sockets: sum.Took, Unsure: unsure, Offset: d.Offset, Topic: d.Topic}
	if d.Ack > 0 {
		receipt.Acks = &sum.Acked
		receipt.AckMillis = float64(time.Since(b.dispatched).Microseconds()) / 1000
	}
	if d.span != nil {
		r.endDelivery(b, d, o, sum)
	}
	r.receipt(d.msg, receipt)
	if r.cfg.Settled != nil {
		r.cfg.Settled(Settlement{Offset: d.Offset, User: d.User, Topic: d.Topic, Outcome: o, Sockets: sum.Took, Read: b.read})
	}
	r.recorder.add(func(record *DeliveryRecord) { b.record(record, d, o) })
	if r.log.Enabled(context.Background(), slog.LevelDebug) {
		r.log.LogAttrs(context.Background(), slog.LevelDebug, "settled", slog.String("user", string(d.User)), slog.String("topic", d.Topic),
			slog.Uint64("stream_seq", d.Offset.Seq), slog.String("outcome", string(o)), slog.Int("sockets", sum.Took))
	}
}

// record fills the record of a delivery.
func (b *batch) record(record *DeliveryRecord, d *delivery, o Outcome) {
	record.Offset, record.Subject, record.User, record.Read, record.Settled, record.Outcome = d.Offset, d.msg.Subject, d.User, b.read, time.Now(), o
	for _, a := range d.attempts {
		node := NodeDelivery{Node: a.node, Took: a.Took, Seen: a.Seen, Acked: a.Acked}
		if a.err != nil {
			node.Error = a.err.Error()
		}
		for _, p := range d.sockets {
			if p.Node == a.node {
				node.Sockets = append(node.Sockets, p.Socket)
			}
		}
		record.Nodes = append(record.Nodes, node)
	}
}
