package bridge

import (
	"log/slog"
	"time"
)

// HeaderTraceparent says where in a distributed trace a message belongs (W3C Trace
// Context). HTTP and NATS have the same name for it.
const HeaderTraceparent = "traceparent"

// BeginSpan begins the span of one step of a message. parent is the traceparent of the step that it
// is a part of, on this node or another. BeginSpan returns nil when parent says "not sampled", and
// without a parent for all messages that it does not choose: the message is then not traced. It must
// cost next to nothing when it returns nil.
type BeginSpan func(name, parent string, at time.Time) Span

// Span is a step that has begun. Safe for concurrent use.
type Span interface {
	// Traceparent is the parent of the steps inside this one.
	Traceparent() string
	// End ends the step, with its attributes. It is called once.
	End(at time.Time, facts ...slog.Attr)
}

// Names of spans, as docs/tracing.md explains them.
const (
	SpanPayload = "sendPayload" // an HTTP call, until its answer
	SpanPublish = "publish"     // of an HTTP call: from putting it into the stream to its receipt
	SpanDeliver = "deliver"     // from being stored in the stream to the outcome
	SpanRead    = "read"        // from being stored to being in a batch
	SpanStore   = "store"       // the batch's round trip to the store
	SpanForward = "forward"     // to another node, until its answer
	SpanPush    = "push"        // to the sockets of one node, until they have it or have confirmed it
)

// stored is when the stream stored the message, but not later than read: the clock of the NATS server
// may be ahead.
func (m *Message) stored(read time.Time) time.Time {
	if m.Stored.Unix() > 0 && m.Stored.Before(read) {
		return m.Stored
	}
	return read
}

// sample begins the spans of those messages of a batch that are traced.
func (r *Router) sample(b *batch) {
	for i := range b.deliveries {
		d := &b.deliveries[i]
		if d.span = r.cfg.Begin(SpanDeliver, d.msg.header(HeaderTraceparent), d.msg.stored(b.read)); d.span != nil {
			d.Parent = d.span.Traceparent()
		}
	}
	for _, m := range b.invalid {
		if span := r.cfg.Begin(SpanDeliver, m.msg.header(HeaderTraceparent), m.msg.stored(b.read)); span != nil {
			span.End(time.Now(), slog.String("outcome", string(Dead)), slog.String("code", m.why.Code), slog.Any("offset", m.msg.Offset))
		}
	}
}

// endDelivery ends the span of a delivery, and records its first steps.
func (r *Router) endDelivery(b *batch, d *delivery, o Outcome, sum Count) {
	record := func(name string, from, to time.Time, facts ...slog.Attr) {
		if span := r.cfg.Begin(name, d.Parent, from); span != nil {
			span.End(to, facts...)
		}
	}
	record(SpanRead, d.msg.stored(b.read), b.read)
	record(SpanStore, b.read, b.located, slog.Int("messages", len(b.envelopes)))
	d.span.End(time.Now(), slog.String("user", string(d.User)), slog.String("topic", d.Topic), slog.Any("offset", d.Offset),
		slog.String("outcome", string(o)), slog.Int("sockets", sum.Took), slog.Time("handed", b.dispatched))
}

// beginForward begins the span of a forward, if the delivery is traced, and returns the envelope to
// send: the steps of the other node are a part of that span.
func (r *Router) beginForward(d *delivery) (*Envelope, Span) {
	if d.span == nil {
		return &d.Envelope, nil
	}
	span := r.cfg.Begin(SpanForward, d.Parent, time.Now())
	if span == nil {
		return &d.Envelope, nil
	}
	e := d.Envelope
	e.Parent = span.Traceparent()
	return &e, span
}

// endForwards ends the spans of beginForward.
func endForwards(spans []Span, node NodeID, counts []Count, err error) {
	for j, span := range spans {
		switch {
		case span == nil:
		case err != nil || j >= len(counts):
			span.End(time.Now(), slog.String("node", string(node)), slog.Any("err", err))
		default:
			span.End(time.Now(), slog.String("node", string(node)), slog.Int("took", counts[j].Took), slog.Int("seen", counts[j].Seen))
		}
	}
}
