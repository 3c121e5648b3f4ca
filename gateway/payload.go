package gateway

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/codewar/socketbridge/bridge"
)

// payloads serves /sendPayload: it puts the message into the stream, so that it
// keeps one order with what publishers put there, and answers when the router
// says what became of it.
type payloads struct {
	here func(bridge.UserID) bool
	// unproven: see [Config].
	unproven func() bool
	store    locator
	ask      AskFunc
	missed   func(*bridge.Envelope) // told of each message whose user had no socket
	begin    bridge.BeginSpan       // nil: no call is followed
	timeout  time.Duration
	maxBody  int64 // bytes of a decoded body
	bodies   bodyBytes
	pace     *pace
	wait     patience // of callers
	// spare is how long a body may take to arrive before the time for the request could
	// end while its caller waits for the receipt.
	spare time.Duration

	mu      sync.Mutex // guards closing and held; calls are added under it
	closing bool
	held    bool // see [Server.Hold]
	calls   sync.WaitGroup
}

// AskFunc puts a message into the stream and waits for its receipt. It changes neither
// header nor body, and may read them after it has returned. It returns
// [bridge.ErrUnavailable] when the bus did not acknowledge it, and
// [bridge.ErrNoReceipt] when ctx ended after that.
type AskFunc func(ctx context.Context, topic string, header map[string][]string, body []byte) (bridge.Receipt, error)

// enter counts a call, unless the server takes none.
func (p *payloads) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing || p.held {
		return false
	}
	p.calls.Add(1)
	return true
}

// hold says whether calls are refused for now.
func (p *payloads) hold(refuse bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = refuse
}

// drain refuses new calls and waits for those in hand.
func (p *payloads) drain(ctx context.Context) error {
	p.mu.Lock()
	p.closing = true
	p.mu.Unlock()
	done := make(chan struct{})
	go func() { p.calls.Wait(); close(done) }() // every call ends within the reply time-out
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *payloads) handle(c echo.Context) error {
	if !p.enter() {
		return refused(c, "", http.StatusServiceUnavailable, codeShuttingDown, "Starting or shutting down; try another node")
	}
	defer p.calls.Done()
	if code, message := unsupported(c.Request()); code != "" {
		return refused(c, "", http.StatusUnsupportedMediaType, code, message)
	}
	full := func() error {
		p.pace.refusals.Add(limitBodyBytes, p.pace.client(c.Request()))
		return refused(c, "", http.StatusServiceUnavailable, codeUnavailable, "Too many large calls at once, try again")
	}
	held, ok := p.bodies.hold(c.Request())
	if !ok {
		return full()
	}
	defer held.release()
	began := time.Now()
	body, err := readJSON(c.Request(), p.maxBody)
	held.settle(body)
	p.pace.charge(c, body)
	switch {
	case errors.Is(err, errNoRoom):
		return full()
	case errors.Is(err, errEncoding):
		return refused(c, "", http.StatusBadRequest, codeInvalidEncoding, "Body does not decode as its Content-Encoding says")
	case err != nil:
		return err // the error handler tells too large from too slow and cut off
	}
	now := time.Now()
	if now.Sub(began) > p.spare {
		// The deadline was the body's; when it passes later it must not end the wait for the receipt.
		_ = http.NewResponseController(c.Response()).SetReadDeadline(time.Time{})
	}
	e, err := bridge.DecodeRequest(body)
	if invalid, bad := errors.AsType[*bridge.InvalidError](err); bad {
		return refusedInvalid(c, "", invalid, body)
	}
	wanted, invalid := wantsOf(c.Request())
	if invalid != nil {
		return refusedInvalid(c, e.User, invalid, body)
	}
	span := p.beginCall(c)
	receipt, err := p.deliver(p.wait.of(now), span, &e, body, wanted)
	status, code, message := httpStatus(receipt, err)
	endCall(c, span, status, e.Topic)
	if code != "" {
		return refused(c, e.User, status, code, message)
	}
	return sent{
		Message: message, UserID: e.User, Topic: e.Topic, Sockets: receipt.Sockets, Queued: status == http.StatusAccepted,
		Offset: receipt.Offset, Acks: receipt.Acks, AckMillis: receipt.AckMillis,
	}.answer(c, status)
}

// Headers of a call's message. Whoever is given one of them must not change it.
var (
	headerNone      = map[string][]string{}
	headerAck       = map[string][]string{bridge.HeaderAck: {bridge.AckClient}}
	headerDrop      = map[string][]string{bridge.HeaderOffline: {bridge.OfflineDrop}}
	headerAckOrDrop = map[string][]string{bridge.HeaderAck: {bridge.AckClient}, bridge.HeaderOffline: {bridge.OfflineDrop}}
)

// header is what a call's message says beside its body.
func (w wants) header() map[string][]string {
	switch {
	case w.queue && w.ack:
		return headerAck
	case w.queue:
		return headerNone
	case w.ack:
		return headerAckOrDrop
	}
	return headerDrop
}

// deliver looks the user up first: without a socket anywhere the message is not
// stored at all, unless the caller wants it queued.
func (p *payloads) deliver(ctx context.Context, span bridge.Span, e *bridge.Envelope, body []byte, w wants) (bridge.Receipt, error) {
	if !w.queue && !p.here(e.User) {
		sockets, err := locate(ctx, p.store, e.User)
		if err != nil {
			return bridge.Receipt{}, errors.Join(bridge.ErrUnavailable, err)
		}
		if len(sockets) == 0 && (p.unproven == nil || !p.unproven()) {
			p.missed(e)
			return bridge.Receipt{Outcome: bridge.Offline}, nil
		}
	}
	return p.publish(ctx, span, e.Topic, w.header(), body)
}

// httpStatus is the answer to a caller; code is empty when the message was taken.
func httpStatus(r bridge.Receipt, err error) (status int, code, message string) {
	switch {
	case errors.Is(err, bridge.ErrTooLarge):
		return http.StatusRequestEntityTooLarge, codeTooLarge, "Body is too large"
	case errors.Is(err, bridge.ErrNoReceipt) || err == nil && r.Unsure:
		return http.StatusGatewayTimeout, codeNoReply, "No answer in time; the message is stored and may still arrive"
	case err != nil:
		return http.StatusServiceUnavailable, codeUnavailable, "Not available now, try again"
	}
	switch r.Outcome {
	case bridge.Pushed, bridge.Duplicate:
		return http.StatusOK, "", "Payload sent successfully"
	case bridge.Inboxed:
		return http.StatusAccepted, "", "Payload queued"
	case bridge.Offline:
		return http.StatusNotFound, codeUserNotFound, "User not connected"
	case bridge.Dead: // cannot be: the same rules have accepted it here
	}
	return http.StatusInternalServerError, codeInternal, "Unexpected outcome"
}

// wants is what a caller asks for beside the delivery itself.
type wants struct {
	queue bool // that the message wait for an offline user
	ack   bool // that the pages confirm it
}

// wantsOf reads `?queue=true` or `Prefer: respond-async` (RFC 7240), and `?ack=client`.
// A value that it does not know is an error: ignoring it, as RFC 7240 lets servers do
// with preferences, would answer 404 where the caller has misspelled that it may wait.
func wantsOf(r *http.Request) (w wants, err *bridge.InvalidError) {
	if r.URL.RawQuery != "" {
		query, bad := url.ParseQuery(r.URL.RawQuery)
		if bad != nil {
			return w, bridge.InvalidOption("query", "percent-encoded names and values")
		}
		for _, value := range query["queue"] {
			if value != "true" && value != "false" || value != query["queue"][0] {
				return w, bridge.InvalidOption("queue", "true or false")
			}
			w.queue = value == "true"
		}
		for _, value := range query["ack"] {
			if value != bridge.AckClient {
				return w, bridge.InvalidOption("ack", bridge.AckClient)
			}
			w.ack = true
		}
	}
	for _, line := range r.Header["Prefer"] {
		for preference := range strings.SplitSeq(line, ",") {
			switch preference = strings.ToLower(strings.TrimSpace(preference)); {
			case preference == "respond-async":
				w.queue = true
			case preference != "" && !otherPreference(preference):
				return w, bridge.InvalidOption("Prefer", "respond-async")
			}
		}
	}
	return w, nil
}

// otherPreference reports whether RFC 7240 defines a preference that says nothing about
// waiting for a user. Clients' libraries add these.
func otherPreference(preference string) bool {
	name, _, _ := strings.Cut(preference, "=")
	name, _, _ = strings.Cut(name, ";")
	return slices.Contains([]string{"return", "wait", "handling"}, strings.TrimSpace(name))
}

// refused answers a call that was not served, in the one error format.
func refused(c echo.Context, user bridge.UserID, status int, code, message string) error {
	return refusedWith(c, user, status, code, message, nil)
}

// refusedInvalid answers a call that breaks the rules: the details name the field or the
// option, or the place in the text, and what was expected there.
func refusedInvalid(c echo.Context, user bridge.UserID, e *bridge.InvalidError, body []byte) error {
	return refusedWith(c, user, http.StatusBadRequest, e.Code, e.Message, invalidDetails(e, body))
}

// invalidDetails is what the details of an answer say of an error. Lines and columns
// count from 1, a column in bytes; the position counts bytes from 0.
func invalidDetails(e *bridge.InvalidError, body []byte) map[string]any {
	details := make(map[string]any)
	if e.Field != "" {
		details["field"] = e.Field
	}
	if e.Expected != "" {
		details["expected"] = e.Expected
	}
	if e.Positioned {
		before := body[:min(e.Position, len(body))]
		details["position"] = e.Position
		details["line"] = bytes.Count(before, []byte{'\n'}) + 1
		details["column"] = len(before) - bytes.LastIndexByte(before, '\n')
	}
	return details
}

func refusedWith(c echo.Context, user bridge.UserID, status int, code, message string, more map[string]any) error {
	details := map[string]any{"action": "sendPayload", "userId": nil, "requestId": requestID(c)}
	if user != "" {
		details["userId"] = user
	}
	maps.Copy(details, more)
	if status == http.StatusServiceUnavailable {
		c.Response().Header().Set("Retry-After", "1")
	}
	return c.JSON(status, newErrorBody(message, code, details))
}
