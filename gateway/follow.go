package gateway

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/sio"
)

// pushFollowed pushes a message that is followed: its pages are told of this step.
func (h *Hub) pushFollowed(e *bridge.Envelope) bridge.Count {
	span := h.cfg.Begin(bridge.SpanPush, e.Parent, time.Now())
	if span == nil {
		return h.push(e)
	}
	pushed := *e
	pushed.Parent = span.Traceparent()
	c := h.push(&pushed)
	span.End(time.Now(), slog.Int("took", c.Took), slog.Int("seen", c.Seen))
	return c
}

// pushAckedFollowed does the same where pages are to confirm.
func (h *Hub) pushAckedFollowed(e *bridge.Envelope, done func(bridge.Count)) {
	span := h.cfg.Begin(bridge.SpanPush, e.Parent, time.Now())
	if span == nil {
		h.pushAcked(e, done)
		return
	}
	pushed := *e
	pushed.Parent = span.Traceparent()
	h.pushAcked(&pushed, func(c bridge.Count) {
		span.End(time.Now(), slog.Int("took", c.Took), slog.Int("seen", c.Seen), slog.Int("acked", c.Acked))
		done(c)
	})
}

// traceArgument is the argument that a page gets after the payload of a message that
// is followed, when it has asked for that with `auth: {trace: true}`. It is an object,
// so the offset stays the last string.
type traceArgument struct {
	Traceparent string `json:"traceparent"`
}

// wantsTrace decides who is given it: whoever says so. A handler that takes only
// the payload does not notice.
func wantsTrace(c *sio.Socket) bool { return c.Auth().Trace }

// followedPacket is the event of a message that is followed, for a page that asked.
func followedPacket(e *bridge.Envelope, cursor string) *sio.Packet {
	argument, err := json.Marshal(traceArgument{e.Parent})
	if err != nil {
		panic(err) // a string always encodes
	}
	return sio.EventPacket(e.Topic, slices.Concat(e.Payload, []byte(","), argument), cursor)
}

// ackedArguments are those of an event that a page is to confirm.
func (s *socket) ackedArguments(e *bridge.Envelope) []any {
	if s.traces && e.Parent != "" {
		return []any{json.RawMessage(e.Payload), traceArgument{e.Parent}}
	}
	return []any{json.RawMessage(e.Payload)}
}

// unfollowed is the traceparent of a message that was not chosen here, so that it is
// not chosen further on either.
const unfollowed = "00-00000000000000000000000000000001-0000000000000001-00"

// beginCall begins the span of a call that sends a message, or returns nil.
func (p *payloads) beginCall(c echo.Context) bridge.Span {
	if p.begin == nil {
		return nil
	}
	return p.begin(bridge.SpanPayload, c.Request().Header.Get(bridge.HeaderTraceparent), time.Now())
}

func endCall(c echo.Context, span bridge.Span, status int, topic string) {
	if span != nil {
		span.End(time.Now(), slog.Int("status", status), slog.String("topic", topic), slog.String("request", requestID(c)))
	}
}

// publish puts a call's message into the stream, as a part of the call's span when
// that is followed.
func (p *payloads) publish(ctx context.Context, call bridge.Span, topic string, header map[string][]string, body []byte) (bridge.Receipt, error) {
	if p.begin == nil {
		return p.ask(ctx, topic, header, body)
	}
	var span bridge.Span
	if call != nil {
		span = p.begin(bridge.SpanPublish, call.Traceparent(), time.Now())
	}
	header = maps.Clone(header)
	if span == nil {
		header[bridge.HeaderTraceparent] = []string{unfollowed}
		return p.ask(ctx, topic, header, body)
	}
	header[bridge.HeaderTraceparent] = []string{span.Traceparent()}
	receipt, err := p.ask(ctx, topic, header, body)
	facts := []slog.Attr{slog.String("topic", topic), slog.String("outcome", string(receipt.Outcome)), slog.Any("offset", receipt.Offset)}
	if err != nil {
		facts = append(facts, slog.Any("err", err))
	}
	span.End(time.Now(), facts...)
	return receipt, err
}
