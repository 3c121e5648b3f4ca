package bridge

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// batch is some messages on their way through the router.
type batch struct {
	last    Offset // of the batch's last message, dead ones too
	flights []flight
	entries []Entry    // of the flights, in the same order
	found   []Appended // what the store answered, in the same order
	dead    []deadMessage

	mu sync.Mutex // guards the flights' counts once the batch is handed on
}

// flight is one envelope of a batch, until its outcome is known.
type flight struct {
	Envelope
	msg     *Message
	count   Count
	waiting int  // answers still to come
	unsure  bool // a node did not answer
}

type deadMessage struct {
	msg *Message
	why *InvalidError
}

// newBatch decodes messages. It keeps msgs.
func newBatch(msgs []Message) *batch {
	b := &batch{
		last:    msgs[len(msgs)-1].Offset,
		flights: make([]flight, 0, len(msgs)),
		entries: make([]Entry, 0, len(msgs)),
	}
	for i := range msgs {
		m := &msgs[i]
		e, err := Decode(m)
		if invalid, bad := errors.AsType[*InvalidError](err); bad {
			b.dead = append(b.dead, deadMessage{m, invalid})
			continue
		}
		b.flights = append(b.flights, flight{Envelope: e, msg: m}) // never grows: pointers stay good
		b.entries = append(b.entries, Entry{
			Envelope:      &b.flights[len(b.flights)-1].Envelope,
			OnlyIfPresent: m.header(HeaderOffline) == OfflineDrop,
		})
	}
	return b
}

// handBatch gives every envelope to its user's sockets: here at once, elsewhere
// with one forward a node. Outcomes follow when the nodes have answered.
func (r *Router) handBatch(t *routerTerm, b *batch) {
	away := make(map[NodeID][]int) // flights by node, in order
	for i := range b.flights {
		f := &b.flights[i]
		here := false
		for _, p := range r.targets(b.found[i].Sockets) {
			if p.Node == r.self {
				here = true
			} else if to := away[p.Node]; len(to) == 0 || to[len(to)-1] != i {
				away[p.Node] = append(to, i)
				f.waiting++
			}
		}
		if here {
			f.count = r.routes.Push(&f.Envelope)
		}
		if f.waiting == 0 {
			r.settle(t, b, i)
		}
	}
	for node, flights := range away {
		envelopes := make([]*Envelope, len(flights))
		for j, i := range flights {
			envelopes[j] = &b.flights[i].Envelope
		}
		t.running.Add(1)
		r.routes.Forward(t.number, node, envelopes, func(counts []Count, err error) {
			defer t.running.Done()
			r.answered(t, b, flights, counts, err)
		})
	}
}

// targets are the sockets that should have a message.
func (r *Router) targets(sockets []Presence) []Presence {
	if r.routes.LatestOnly && len(sockets) > 1 {
		return sockets[len(sockets)-1:]
	}
	return sockets
}

// answered takes one node's answer for its flights.
func (r *Router) answered(t *routerTerm, b *batch, flights []int, counts []Count, err error) {
	var settled []int
	b.mu.Lock()
	for j, i := range flights {
		f := &b.flights[i]
		switch {
		case err == nil && j < len(counts):
			f.count = f.count.Add(counts[j])
		case !errors.Is(err, ErrNodeGone):
			f.unsure = true
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
	found := &b.found[i]
	if outcome, sure := decide(f.count, f.unsure, b.entries[i].OnlyIfPresent, found.Absent); sure {
		r.close(f, outcome)
		return
	}
	t.running.Go(func() { r.close(f, r.withdraw(f)) })
}

// decide is the whole of what counts mean. sure is false when the message must
// first be withdrawn: nobody took it, and its sender wants to know that for certain.
func decide(c Count, unsure, onlyIfPresent, absent bool) (o Outcome, sure bool) {
	switch {
	case absent:
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

// withdraw takes a message back from the history of a user whose sockets have
// all gone between the look-up and the push.
func (r *Router) withdraw(f *flight) Outcome {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	gone, err := r.store.Withdraw(ctx, f.User, f.Offset)
	switch {
	case err != nil:
		r.log.LogAttrs(ctx, slog.LevelWarn, "not withdrawn, stays in the inbox", slog.Uint64("stream_seq", f.Offset.Seq), slog.Any("err", err))
		return Inboxed
	case gone:
		return Offline
	}
	f.count.Took = 1 // a socket has registered since then, and its replay has the message
	return Pushed
}

// close enters the outcome in the ledger and tells who asked.
func (r *Router) close(f *flight, o Outcome) {
	r.ledger.settle(o)
	r.receipt(f.msg, Receipt{Outcome: o, Sockets: f.count.Took, Offset: f.Offset, Topic: f.Topic})
	if r.log.Enabled(context.Background(), slog.LevelDebug) {
		r.log.LogAttrs(context.Background(), slog.LevelDebug, "settled", slog.String("user", string(f.User)), slog.String("topic", f.Topic),
			slog.Uint64("stream_seq", f.Offset.Seq), slog.String("outcome", string(o)), slog.Int("sockets", f.count.Took))
	}
}
