package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/codewar/socketbridge/bridge"
)

// sendRequest is the body of an operator's message: what /sendPayload takes as
// one object, taken apart.
type sendRequest struct {
	User    json.RawMessage `json:"userId"`
	Topic   json.RawMessage `json:"topic"`
	Payload json.RawMessage `json:"payload"`
	Queue   bool            `json:"queue"`
	Ack     bool            `json:"ack"`
}

// body is the request as a message of the stream. The payload's bytes stay as they are.
func (s sendRequest) body() ([]byte, error) {
	payload := s.Payload
	if len(payload) == 0 {
		payload = []byte("{}")
	}
	if payload[0] != '{' {
		return nil, &bridge.InvalidError{Code: bridge.CodeNotAnObject, Message: "payload must be an object"}
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(payload, &members); err != nil {
		return nil, &bridge.InvalidError{Code: bridge.CodeInvalidJSON, Message: "payload is not valid JSON"}
	}
	var b []byte
	add := func(key string, value json.RawMessage) {
		if len(value) > 0 {
			b = append(append(append(b, `"`+key+`":`...), value...), ',')
		}
	}
	b = append(b, '{')
	add("userId", s.User)
	add("topic", s.Topic)
	if len(members) == 0 {
		if len(b) == 1 {
			return []byte("{}"), nil
		}
		b[len(b)-1] = '}'
		return b, nil
	}
	return append(b, payload[1:]...), nil
}

// sendAnswer says what became of an operator's message.
type sendAnswer struct {
	Outcome    bridge.Outcome `json:"outcome"`
	Sockets    int            `json:"sockets"`
	Offset     bridge.Offset  `json:"offset,omitzero"` // missing when it was not stored: nobody was there
	Acks       *int           `json:"acks,omitempty"`
	AckMillis  float64        `json:"ackMs,omitempty"`
	TookMillis float64        `json:"tookMs"`
}

// send puts an operator's message into the stream, the way /sendPayload does.
func (p *payloads) send(c echo.Context) error {
	const action = "send"
	if !p.enter() {
		return Refuse(c, http.StatusServiceUnavailable, codeShuttingDown, "Starting or shutting down; try another node", action)
	}
	defer p.calls.Done()
	if code, message := unsupported(c.Request()); code != "" || c.Request().Header.Get(echo.HeaderContentType) == "" {
		return Refuse(c, http.StatusUnsupportedMediaType, cmp.Or(code, codeUnsupported), cmp.Or(message, "Content-Type must be application/json"), action)
	}
	full := func() error {
		p.pace.refusals.Add(limitBodyBytes, p.pace.client(c.Request()))
		return Refuse(c, http.StatusServiceUnavailable, codeUnavailable, "Too many large calls at once, try again", action)
	}
	held, ok := p.bodies.hold(c.Request())
	if !ok {
		return full()
	}
	defer held.release()
	raw, err := readJSON(c.Request(), p.maxBody)
	held.settle(raw)
	switch {
	case errors.Is(err, errNoRoom):
		return full()
	case errors.Is(err, errEncoding):
		return Refuse(c, http.StatusBadRequest, codeInvalidEncoding, "Body does not decode as its Content-Encoding says", action)
	case err != nil:
		return err // as in handle
	}
	_ = http.NewResponseController(c.Response()).SetReadDeadline(time.Time{}) // as in handle
	began := time.Now()
	var request sendRequest
	if err := json.Unmarshal(raw, &request); err != nil {
		return Refuse(c, http.StatusBadRequest, bridge.CodeInvalidJSON, "The body must be an object with userId, topic, payload, queue and ack", action)
	}
	body, err := request.body()
	var e bridge.Envelope
	if err == nil {
		e, err = bridge.DecodeRequest(body)
	}
	if invalid, bad := errors.AsType[*bridge.InvalidError](err); bad {
		return Refuse(c, http.StatusBadRequest, invalid.Code, invalid.Message, action)
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), p.timeout)
	defer cancel()
	span := p.beginCall(c)
	receipt, err := p.deliver(ctx, span, &e, body, wants{queue: request.Queue, ack: request.Ack})
	status, code, message := httpStatus(receipt, err)
	endCall(c, span, status, e.Topic)
	if err != nil || receipt.Unsure {
		return Refuse(c, status, code, message, action)
	}
	return c.JSON(http.StatusOK, sendAnswer{
		Outcome: receipt.Outcome, Sockets: receipt.Sockets, Offset: receipt.Offset,
		Acks: receipt.Acks, AckMillis: receipt.AckMillis, TookMillis: float64(time.Since(began).Microseconds()) / 1000,
	})
}
