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

// batch is some messages on their way through the router.
type batch struct {
	read    time.Time
	located time.Time // when the store had answered
	handed  time.Time // when pushing began
	last    Offset    // of the batch's last message, dead ones too
	flights []flight
	entries []Entry // of the flights, in the same order
	dead    []deadMessage

	mu sync.Mutex // guards the flights' tries once the batch is handed on
}

// flight is one envelope of a batch, until its outcome is known.
type flight struct {
	Envelope
	msg       *Message
	withdrawn bool       // an earlier leader has told the sender that it does not arrive
	user      int        // index of its user among those of the batch
	sockets   []Presence // of its user
	unlocated bool       // it is not known where those are
	span      Span       // nil when the message is not followed
	tries     []try      // one for each node that has, or may have, sockets of the user
	one       [1]try
	waiting   int // tries without an answer
}

// try is what one node did with a flight.
type try struct {
	node NodeID
	Count
	err error
}

type deadMessage struct {
	msg *Message
	why *InvalidError
}

// newBatch decodes messages. It keeps msgs. ack is how long pages have that are
// asked to confirm.
func newBatch(msgs []Message, ack time.Duration) *batch {
	b := &batch{
		read:    time.Now(),
		last:    msgs[len(msgs)-1].Offset,
		flights: make([]flight, 0, len(msgs)),
		entries: make([]Entry, 0, len(msgs)),
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
		if invalid, bad := errors.AsType[*InvalidError](err); bad {
			b.dead = append(b.dead, deadMessage{m, invalid})
			continue
		}
		if m.header(HeaderAck) == AckClient {
			e.Ack = ack
		}
		b.flights = append(b.flights, flight{Envelope: e, msg: m}) // never grows: pointers stay good
		b.entries = append(b.entries, Entry{
			Envelope:      &b.flights[len(b.flights)-1].Envelope,
			OnlyIfPresent: m.header(HeaderOffline) == OfflineDrop,
		})
	}
	return b
}

// index puts the flights into the index.
func (b *batch) index(x *Index) {
	for i, found := range x.Append(b.entries) {
		f := &b.flights[i]
		f.Before, f.withdrawn = found.Before, found.Withdrawn
	}
	x.Advance(b.last)
}

// users are the users of the flights that are to be delivered, each once.
func (b *batch) users() []UserID {
	if len(b.flights) == 0 {
		return nil
	}
	users := make([]UserID, 0, len(b.flights))
	known := make(map[UserID]int, len(b.flights))
	for i := range b.flights {
		f := &b.flights[i]
		at, again := known[f.User]
		if !again {
			at = len(users)
			known[f.User] = at
			users = append(users, f.User)
		}
		f.user = at
	}
	return users
}

// forwards are the flights that go to each node, in order. One that waits for
// pages to confirm is forwarded on its own, so that no other waits with it.
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

// handBatch gives every envelope to its user's sockets: here at once, elsewhere
// with one forward a node. Outcomes follow when the nodes have answered.
func (r *Router) handBatch(t *routerTerm, b *batch) {
	b.handed = time.Now()
	away := make(forwards)
	unregistered := r.routes.Unregistered()
	for i := range b.flights {
		f := &b.flights[i]
		f.tries = f.one[:0]
		for node := range r.targets(f, unregistered) {
			if f.tried(node) == nil {
				f.tries = append(f.tries, try{node: node})
				if node != r.self {
					away.add(node, i, f.Ack > 0)
					f.waiting++
				}
			}
		}
		here := f.tried(r.self)
		if here != nil && f.Ack > 0 {
			f.waiting++
			r.pushAcked(t, b, i) // from here on the flight is owned by the goroutine of its answers
			continue
		}
		if here != nil {
			here.Count = r.routes.Push(&f.Envelope)
		}
		if f.waiting == 0 {
			r.settle(t, b, i)
		}
	}
	for node, runs := range away {
		for _, flights := range runs {
			if len(flights) > 0 {
				r.forward(t, b, node, flights)
			}
		}
	}
	r.routes.Flush()
	r.handed.Store(&b.last)
}

// tried returns the node's try, or nil.
func (f *flight) tried(node NodeID) *try {
	for j := range f.tries {
		if f.tries[j].node == node {
			return &f.tries[j]
		}
	}
	return nil
}

// targets are the nodes that should have a flight, some of them more than once. unregistered are
// those with sockets that the store does not know of.
func (r *Router) targets(f *flight, unregistered []NodeID) iter.Seq[NodeID] {
	return func(yield func(NodeID) bool) {
		sockets := f.sockets
		switch {
		case f.withdrawn:
			return
		case f.unlocated:
			slices.Values(r.routes.Nodes())(yield)
			return
		case r.routes.LatestOnly && len(sockets) > 1:
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

// pushAcked pushes a flight here, whose count comes when the pages have confirmed.
func (r *Router) pushAcked(t *routerTerm, b *batch, i int) {
	t.running.Add(1)
	r.routes.PushAcked(&b.flights[i].Envelope, func(c Count) {
		defer t.running.Done()
		r.answered(t, b, r.self, []int{i}, []Count{c}, nil)
	})
}

func (r *Router) forward(t *routerTerm, b *batch, node NodeID, flights []int) {
	envelopes := make([]*Envelope, len(flights))
	var spans []Span // of those that are followed, by their index
	for j, i := range flights {
		var span Span
		if envelopes[j], span = r.beginForward(&b.flights[i]); span != nil {
			spans = append(spans, make([]Span, j+1-len(spans))...)
			spans[j] = span
		}
	}
	t.running.Add(1)
	r.routes.Forward(t.number, node, envelopes, func(counts []Count, err error) {
		defer t.running.Done()
		r.metrics.forwarded(err)
		endForwards(spans, node, counts, err)
		r.answered(t, b, node, flights, counts, err)
	})
}

// answered takes one node's answer for its flights.
func (r *Router) answered(t *routerTerm, b *batch, node NodeID, flights []int, counts []Count, err error) {
	if err == nil && len(counts) != len(flights) {
		err = errors.New("wrong number of counts")
	}
	var settled []int
	b.mu.Lock()
	for j, i := range flights {
		f := &b.flights[i]
		here := f.tried(node)
		if here.err = err; err == nil {
			here.Count = counts[j]
		}
		if f.waiting--; f.waiting == 0 {
			settled = append(settled, i)
		}
	}
	b.mu.Unlock()
	for _, i := range settled {
		r.settle(t, b, i)
	}
}

// settle gives a flight, whose answers are all there, its outcome.
func (r *Router) settle(t *routerTerm, b *batch, i int) {
	f := &b.flights[i]
	var sum Count
	unsure := f.unlocated // a socket may have got it, or will find it in a replay, or not
	for _, try := range f.tries {
		sum = sum.Add(try.Count)
		unsure = unsure || try.err != nil && !errors.Is(try.err, ErrNodeGone)
	}
	outcome, final := decide(sum, unsure, b.entries[i].OnlyIfPresent, f.withdrawn)
	switch {
	case final:
		r.close(b, i, outcome, sum, unsure && b.entries[i].OnlyIfPresent && outcome == Inboxed)
	case !r.index.Withdraw(f.Offset): // a socket has registered since then, and its replay has the message
		sum.Took = 1
		r.close(b, i, Pushed, sum, false)
	default:
		t.running.Add(1)
		r.routes.Withdraw(t.number, f.Offset, func(err error) {
			defer t.running.Done()
			if err != nil {
				r.index.NotWithdrawn(f.Offset)
				r.log.LogAttrs(context.Background(), slog.LevelWarn, "withdrawal not recorded, a later leader may deliver the message", slog.Uint64("stream_seq", f.Offset.Seq), slog.Any("err", err))
				r.close(b, i, Inboxed, sum, true)
				return
			}
			r.index.Withdrawn(f.Offset)
			r.close(b, i, Offline, sum, false)
		})
	}
}

// decide is the whole of what counts mean. final is false when the message must
// first be withdrawn: no socket took it, and its sender wants to know that for certain.
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

// close enters the outcome in the ledger, sends the receipt, and records the delivery.
func (r *Router) close(b *batch, i int, o Outcome, sum Count, unsure bool) {
	f := &b.flights[i]
	r.ledger.settle(o)
	receipt := Receipt{Outcome: o, Sockets: sum.Took, Unsure: unsure, Offset: f.Offset, Topic: f.Topic}
	if f.Ack > 0 {
		receipt.Acks = &sum.Acked
		receipt.AckMillis = float64(time.Since(b.handed).Microseconds()) / 1000
	}
	if f.span != nil {
		r.followed(b, i, o, sum)
	}
	r.receipt(f.msg, receipt)
	if r.routes.Settled != nil {
		r.routes.Settled(Settlement{Offset: f.Offset, User: f.User, Topic: f.Topic, Outcome: o, Sockets: sum.Took, Read: b.read})
	}
	r.recorder.add(func(d *DeliveryRecord) { b.record(d, i, o) })
	if r.log.Enabled(context.Background(), slog.LevelDebug) {
		r.log.LogAttrs(context.Background(), slog.LevelDebug, "settled", slog.String("user", string(f.User)), slog.String("topic", f.Topic),
			slog.Uint64("stream_seq", f.Offset.Seq), slog.String("outcome", string(o)), slog.Int("sockets", sum.Took))
	}
}

// record tells what happened to a flight.
func (b *batch) record(d *DeliveryRecord, i int, o Outcome) {
	f := &b.flights[i]
	d.Offset, d.Subject, d.User, d.Read, d.Settled, d.Outcome = f.Offset, f.msg.Subject, f.User, b.read, time.Now(), o
	for _, try := range f.tries {
		d.Nodes = append(d.Nodes, NodeDelivery{Node: try.node, Took: try.Took, Seen: try.Seen, Acked: try.Acked})
		told := &d.Nodes[len(d.Nodes)-1]
		if try.err != nil {
			told.Error = try.err.Error()
		}
		for _, p := range f.sockets {
			if p.Node == try.node {
				told.Sockets = append(told.Sockets, p.Socket)
			}
		}
	}
}
