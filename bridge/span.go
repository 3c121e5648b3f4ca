package bridge

import (
	"log/slog"
	"time"
)

// HeaderTraceparent says where in a distributed trace a message belongs (W3C Trace
// Context). HTTP and NATS have the same name for it.
const HeaderTraceparent = "traceparent"

// BeginSpan begins a step in the life of a message that is followed. The parent is
// the traceparent of the step that it is a part of, on this node or another. With one
// that says "not sampled" BeginSpan returns nil, and with none it does so for all
// messages but a few that it chooses: then the message is not followed. It must cost
// next to nothing when it returns nil.
type BeginSpan func(name, parent string, at time.Time) Span

// A Span is a step that has begun. Safe for concurrent use.
type Span interface {
	// Traceparent is what steps inside this one have as their parent.
	Traceparent() string
	// End ends the step, with what is to be known of it. It is called once.
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

// stored is when the stream stored the message, as far as that can be: its server's
// clock may be ahead of ours.
func (m *Message) stored(read time.Time) time.Time {
	if m.Stored.Unix() > 0 && m.Stored.Before(read) {
		return m.Stored
	}
	return read
}

// follow begins the spans of those messages of a batch that are followed.
func (r *Router) follow(b *batch) {
	for i := range b.flights {
		f := &b.flights[i]
		if f.span = r.routes.Begin(SpanDeliver, f.msg.header(HeaderTraceparent), f.msg.stored(b.read)); f.span != nil {
			f.Parent = f.span.Traceparent()
		}
	}
	for _, d := range b.dead {
		if span := r.routes.Begin(SpanDeliver, d.msg.header(HeaderTraceparent), d.msg.stored(b.read)); span != nil {
			span.End(time.Now(), slog.String("outcome", string(Dead)), slog.String("code", d.why.Code), slog.Any("offset", d.msg.Offset))
		}
	}
}

// part records a step that is over.
func (r *Router) part(name, parent string, from, to time.Time, facts ...slog.Attr) {
	if span := r.routes.Begin(name, parent, from); span != nil {
		span.End(to, facts...)
	}
}

// followed ends the span of a flight that has its outcome, and tells its first steps.
func (r *Router) followed(b *batch, i int, o Outcome, sum Count) {
	f := &b.flights[i]
	r.part(SpanRead, f.Parent, f.msg.stored(b.read), b.read)
	r.part(SpanStore, f.Parent, b.read, b.located, slog.Int("messages", len(b.entries)))
	f.span.End(time.Now(), slog.String("user", string(f.User)), slog.String("topic", f.Topic), slog.Any("offset", f.Offset),
		slog.String("outcome", string(o)), slog.Int("sockets", sum.Took), slog.Time("handed", b.handed))
}

// beginForward begins the span of a flight's way to a node, if it is followed, and
// returns the envelope that goes: what the node does is a part of that.
func (r *Router) beginForward(f *flight) (*Envelope, Span) {
	if f.span == nil {
		return &f.Envelope, nil
	}
	span := r.routes.Begin(SpanForward, f.Parent, time.Now())
	if span == nil {
		return &f.Envelope, nil
	}
	e := f.Envelope
	e.Parent = span.Traceparent()
	return &e, span
}

// endForwards ends what beginForward has begun.
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
