// Package publish serves calls of /sendPayload: it admits a call, decodes its body, puts the
// message into the stream and answers with the message's outcome.
package publish

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/apierror"
	"github.com/codewar/socketbridge/gateway/auth"
	"github.com/codewar/socketbridge/gateway/limit"
	"github.com/codewar/socketbridge/internal/ring"
)

// Config configures a [Handler].
type Config struct {
	MaxBody           int64         // bytes of a decoded body
	BodyBytes         int64         // bytes of all bodies in memory at a time; 0: no limit
	ChunkRate         int           // bytes a second that are read of a body without a declared length
	ReplyTimeout      time.Duration // how long a caller waits for the receipt
	ReadHeaderTimeout time.Duration // of the HTTP server
	ReadTimeout       time.Duration // of the HTTP server, for headers and body; 0: no limit

	// CallsPerSecond and CallBurst limit the calls of one caller, BytesPerSecond and
	// BytesBurst the bytes of their bodies. 0 a second: no limit.
	CallsPerSecond, CallBurst  int
	BytesPerSecond, BytesBurst int

	// Callers present one of the APIKeys or a token that the Verifier accepts and that has
	// the Scope. Without keys and Verifier everybody may call.
	APIKeys  []auth.APIKey
	Verifier *auth.Verifier // nil: tokens are not accepted
	Scope    string

	// AllowPage reports whether the page that made a request may call.
	AllowPage func(*http.Request) bool
	// ClientAddr tells the address that a request comes from.
	ClientAddr limit.AddrFunc
	// Local reports whether the user has a socket on this node.
	Local func(bridge.UserID) bool
	// Unproven reports whether a node may have sockets that the store does not know of. The
	// leader then decides whether a user without sockets in the store is offline. Nil: no
	// node has.
	Unproven func() bool
	// Begin begins spans of traced calls. Nil: calls are not traced.
	Begin bridge.BeginSpan
	// Metrics exposes the counters of the handler. Nil: no metrics are exposed.
	Metrics prometheus.Registerer
}

// bodySlack is how long a body may take to arrive so that the deadline for the request's body
// cannot end before the caller has its receipt.
func (c *Config) bodySlack() time.Duration {
	if c.ReadTimeout <= 0 {
		return math.MaxInt64
	}
	header := c.ReadHeaderTimeout
	if header == 0 {
		header = c.ReadTimeout // the headers may have taken all of it
	}
	return c.ReadTimeout - header - c.ReplyTimeout - c.ReplyTimeout/64
}

// Locator looks up the sockets of users: see [bridge.Registry].
type Locator interface {
	Locate(ctx context.Context, users []bridge.UserID) []bridge.Located
}

// Publisher puts a message into the stream and waits for its receipt. It changes neither
// header nor body, and may read them after it has returned. It returns
// [bridge.ErrUnavailable] when the stream did not acknowledge the message, and
// [bridge.ErrNoReceipt] when ctx ended after the acknowledgement.
type Publisher func(ctx context.Context, topic string, header map[string][]string, body []byte) (bridge.Receipt, error)

// NotFoundCall is a call that was answered with 404: the user had no socket, so the message
// was not stored.
type NotFoundCall struct {
	At    time.Time
	User  bridge.UserID
	Topic string
}

// notFoundKept is how many such calls are remembered, in less than 1 MB.
const notFoundKept = 4_096

// Handler serves calls. Safe for concurrent use.
type Handler struct {
	cfg       Config
	store     Locator
	publisher Publisher
	admission admission
	memory    bodyMemory
	refusals  *limit.RefusalCounter
	answers   answerCounts
	notFound  *ring.Ring[NotFoundCall]

	mu       sync.Mutex // guards draining and held; calls are added under it
	draining bool
	held     bool
	calls    sync.WaitGroup
}

// New makes a handler. It counts authentications in metrics and what [Limits] names in refusals.
func New(cfg Config, store Locator, publisher Publisher, metrics *auth.Metrics, refusals *limit.RefusalCounter) *Handler {
	return &Handler{
		cfg: cfg, store: store, publisher: measured(cfg.Metrics, publisher), refusals: refusals,
		admission: admission{cfg: cfg, metrics: metrics, limits: newCallerLimits(cfg, refusals)},
		memory:    bodyMemory{most: cfg.BodyBytes, largest: cfg.MaxBody, small: smallBody},
		answers:   newAnswerCounts(cfg.Metrics),
		notFound:  ring.New[NotFoundCall](notFoundKept),
	}
}

// Send serves /sendPayload and counts its answer.
func (h *Handler) Send(c echo.Context) error {
	if err := h.send(c); err != nil {
		c.Error(err) // answers, so that the status is known
	}
	h.answers.count(c.Response().Status)
	return nil
}

func (h *Handler) send(c echo.Context) error {
	who, rejected := h.admission.admit(c.Request())
	if rejected != nil {
		return rejected.answer(c, "")
	}
	body, done, rejected := h.read(c, who)
	if rejected != nil {
		return rejected.answer(c, "")
	}
	defer done()
	e, err := bridge.DecodeRequest(body)
	if invalid, bad := errors.AsType[*bridge.InvalidError](err); bad {
		return rejectInvalid(invalid, body).answer(c, "")
	}
	options, invalid := parseOptions(c.Request())
	if invalid != nil {
		return rejectInvalid(invalid, body).answer(c, e.User)
	}
	// A caller that leaves does not end the call: its message may be in the stream.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request().Context()), h.cfg.ReplyTimeout)
	defer cancel()
	receipt, err := h.deliver(ctx, c, &e, body, options)
	if rejected := rejectReceipt(receipt, err); rejected != nil {
		return rejected.answer(c, e.User)
	}
	return answer(c, &e, receipt)
}

// read reads the body of a call that has been admitted. Unless the call is rejected, done must
// be called when it has been answered.
func (h *Handler) read(c echo.Context, who caller) (body []byte, done func(), _ *rejection) {
	if !h.enter() {
		return nil, nil, &rejection{status: http.StatusServiceUnavailable, code: apierror.ShuttingDown, message: "Starting or shutting down; try another node"}
	}
	body, share, rejected := h.body(c, who)
	if rejected != nil {
		h.calls.Done()
		return nil, nil, rejected
	}
	return body, func() { share.release(); h.calls.Done() }, nil
}

// deliver publishes a call's message and ends the call's span, if the call is traced.
func (h *Handler) deliver(ctx context.Context, c echo.Context, e *bridge.Envelope, body []byte, options publishOptions) (bridge.Receipt, error) {
	var span bridge.Span
	if h.cfg.Begin != nil {
		span = h.cfg.Begin(bridge.SpanPayload, c.Request().Header.Get(bridge.HeaderTraceparent), time.Now())
	}
	receipt, err := h.locateAndPublish(ctx, span, e, body, options)
	if span != nil {
		status := statusFor(receipt)
		if rejected := rejectReceipt(receipt, err); rejected != nil {
			status = rejected.status
		}
		span.End(time.Now(), slog.Int("status", status), slog.String("topic", e.Topic), slog.String("request", apierror.RequestID(c)))
	}
	return receipt, err
}

// locateAndPublish looks the user up first. Without a socket anywhere the message is not stored
// at all, unless the caller wants it queued.
func (h *Handler) locateAndPublish(ctx context.Context, span bridge.Span, e *bridge.Envelope, body []byte, options publishOptions) (bridge.Receipt, error) {
	if !options.queue && !h.cfg.Local(e.User) {
		found := h.store.Locate(ctx, []bridge.UserID{e.User})[0]
		if found.Err != nil {
			return bridge.Receipt{}, errors.Join(bridge.ErrUnavailable, found.Err)
		}
		if len(found.Sockets) == 0 && (h.cfg.Unproven == nil || !h.cfg.Unproven()) {
			h.notFound.Add(NotFoundCall{time.Now(), e.User, e.Topic})
			return bridge.Receipt{Outcome: bridge.Offline}, nil
		}
	}
	return h.publish(ctx, span, e.Topic, options.header(), body)
}

// notSampled is the traceparent of a message that was not sampled here, so that it is not
// sampled by the router either.
const notSampled = "00-00000000000000000000000000000001-0000000000000001-00"

// publish puts a call's message into the stream, as a part of the call's span when the call is
// traced.
func (h *Handler) publish(ctx context.Context, call bridge.Span, topic string, header map[string][]string, body []byte) (bridge.Receipt, error) {
	if h.cfg.Begin == nil {
		return h.publisher(ctx, topic, header, body)
	}
	var span bridge.Span
	if call != nil {
		span = h.cfg.Begin(bridge.SpanPublish, call.Traceparent(), time.Now())
	}
	header = maps.Clone(header)
	if span == nil {
		header[bridge.HeaderTraceparent] = []string{notSampled}
		return h.publisher(ctx, topic, header, body)
	}
	header[bridge.HeaderTraceparent] = []string{span.Traceparent()}
	receipt, err := h.publisher(ctx, topic, header, body)
	facts := []slog.Attr{slog.String("topic", topic), slog.String("outcome", string(receipt.Outcome)), slog.Any("offset", receipt.Offset)}
	if err != nil {
		facts = append(facts, slog.Any("err", err))
	}
	span.End(time.Now(), facts...)
	return receipt, err
}

// enter counts a call, unless the handler takes none.
func (h *Handler) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.draining || h.held {
		return false
	}
	h.calls.Add(1)
	return true
}

// Hold sets whether calls are refused for now.
func (h *Handler) Hold(refuse bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held = refuse
}

// Drain refuses new calls and waits for those in hand.
func (h *Handler) Drain(ctx context.Context) error {
	h.mu.Lock()
	h.draining = true
	h.mu.Unlock()
	done := make(chan struct{})
	go func() { h.calls.Wait(); close(done) }() // every call ends within the reply time-out
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// NotFoundCalls returns the newest calls for a user that this process has answered with 404,
// newest first. The number of calls that are remembered is bounded.
func (h *Handler) NotFoundCalls(user bridge.UserID, limit int) []NotFoundCall {
	return h.notFound.Newest(limit, func(m *NotFoundCall) bool { return m.User == user })
}
