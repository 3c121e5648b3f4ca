package gateway

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
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
	here    func(bridge.UserID) bool
	locate  func(context.Context, bridge.UserID) ([]bridge.Presence, error)
	ask     AskFunc
	timeout time.Duration

	mu      sync.Mutex // guards closing; calls are added under it
	closing bool
	calls   sync.WaitGroup
}

// AskFunc puts a message into the stream and waits for its receipt. It returns
// [bridge.ErrUnavailable] when nothing was stored, and [bridge.ErrNoReceipt] when
// ctx ended after that.
type AskFunc func(ctx context.Context, topic string, header map[string][]string, body []byte) (bridge.Receipt, error)

// enter counts a call, unless the server is shutting down.
func (p *payloads) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closing {
		p.calls.Add(1)
	}
	return !p.closing
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

// sent is the answer when a socket took the message, or when it is queued.
type sent struct {
	Message string        `json:"message"`
	UserID  bridge.UserID `json:"userId"`
	Topic   string        `json:"topic"`
	Sockets int           `json:"sockets"`
	Queued  bool          `json:"queued,omitempty"`
	Offset  bridge.Offset `json:"offset"`
}

func (p *payloads) handle(c echo.Context) error {
	if !p.enter() {
		return refused(c, "", http.StatusServiceUnavailable, codeShuttingDown, "Shutting down; try another node")
	}
	defer p.calls.Done()
	if !isJSON(c.Request().Header.Get(echo.HeaderContentType)) {
		return refused(c, "", http.StatusUnsupportedMediaType, codeUnsupported, "Content-Type must be application/json")
	}
	body, err := io.ReadAll(c.Request().Body)
	if err != nil {
		return err // the error handler tells too large from cut off
	}
	e, err := bridge.DecodeRequest(body)
	if invalid, bad := errors.AsType[*bridge.InvalidError](err); bad {
		return refused(c, "", http.StatusBadRequest, invalid.Code, invalid.Message)
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), p.timeout)
	defer cancel()
	receipt, err := p.deliver(ctx, &e, body, wantsQueue(c.Request()))
	status, code, message := httpStatus(receipt.Outcome, err)
	if code != "" {
		return refused(c, e.User, status, code, message)
	}
	return c.JSON(status, sent{message, e.User, e.Topic, receipt.Sockets, status == http.StatusAccepted, receipt.Offset})
}

// deliver looks the user up first: without a socket anywhere the message is not
// stored at all, unless the caller wants it queued.
func (p *payloads) deliver(ctx context.Context, e *bridge.Envelope, body []byte, queue bool) (bridge.Receipt, error) {
	if queue {
		return p.ask(ctx, e.Topic, nil, body)
	}
	if !p.here(e.User) {
		sockets, err := p.locate(ctx, e.User)
		if err != nil {
			return bridge.Receipt{}, errors.Join(bridge.ErrUnavailable, err)
		}
		if len(sockets) == 0 {
			return bridge.Receipt{Outcome: bridge.Offline}, nil
		}
	}
	return p.ask(ctx, e.Topic, map[string][]string{bridge.HeaderOffline: {bridge.OfflineDrop}}, body)
}

// httpStatus is the answer to a caller; code is empty when the message was taken.
func httpStatus(o bridge.Outcome, err error) (status int, code, message string) {
	switch {
	case errors.Is(err, bridge.ErrNoReceipt):
		return http.StatusGatewayTimeout, codeNoReply, "No answer in time; the message is stored and may still arrive"
	case err != nil:
		return http.StatusServiceUnavailable, codeUnavailable, "Not available now; nothing was stored, try again"
	}
	switch o {
	case bridge.Pushed, bridge.Duplicate:
		return http.StatusOK, "", "Payload sent successfully"
	case bridge.Inboxed:
		return http.StatusAccepted, "", "Payload queued"
	case bridge.Offline:
		return http.StatusNotFound, codeUserNotFound, "User not connected"
	}
	return http.StatusInternalServerError, codeInternal, "Unexpected outcome"
}

// wantsQueue reports whether the caller asked that the message wait for an offline
// user: by `Prefer: respond-async` (RFC 7240) or by `?queue=true`.
func wantsQueue(r *http.Request) bool {
	if r.URL.Query().Get("queue") == "true" {
		return true
	}
	for _, line := range r.Header.Values("Prefer") {
		for preference := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(preference), "respond-async") {
				return true
			}
		}
	}
	return false
}

// isJSON accepts JSON media types and, as the Node service's clients may leave it
// out, none at all.
func isJSON(contentType string) bool {
	if contentType == "" {
		return true
	}
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && (t == echo.MIMEApplicationJSON || strings.HasSuffix(t, "+json"))
}

// refused answers a call that was not served, in the one error format.
func refused(c echo.Context, user bridge.UserID, status int, code, message string) error {
	details := map[string]any{"action": "sendPayload", "userId": nil, "requestId": c.Response().Header().Get(echo.HeaderXRequestID)}
	if user != "" {
		details["userId"] = user
	}
	if status == http.StatusServiceUnavailable {
		c.Response().Header().Set("Retry-After", "1")
	}
	return c.JSON(status, newErrorBody(message, code, details))
}
