package publish

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/apierror"
)

// sendRequest is the body of an operator's call: the parts of what /sendPayload takes as one
// object.
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

// sendResponse is the outcome of an operator's message.
type sendResponse struct {
	Outcome    bridge.Outcome `json:"outcome"`
	Sockets    int            `json:"sockets"`
	Offset     bridge.Offset  `json:"offset,omitzero"` // missing when the message was not stored
	Acks       *int           `json:"acks,omitempty"`
	AckMillis  float64        `json:"ackMs,omitempty"`
	TookMillis float64        `json:"tookMs"`
}

// SendAsOperator serves an operator's form of /sendPayload. The guard of the operators' routes
// has admitted the call.
func (h *Handler) SendAsOperator(c echo.Context) error {
	reject := func(r *rejection) error { return apierror.Refuse(c, r.status, r.code, r.message, "send") }
	if c.Request().Header.Get(echo.HeaderContentType) == "" {
		return reject(&rejection{status: http.StatusUnsupportedMediaType, code: apierror.MediaType, message: "Content-Type must be application/json"})
	}
	raw, done, rejected := h.read(c, caller{})
	if rejected != nil {
		return reject(rejected)
	}
	defer done()
	began := time.Now()
	var request sendRequest
	if err := json.Unmarshal(raw, &request); err != nil {
		return reject(&rejection{status: http.StatusBadRequest, code: bridge.CodeInvalidJSON, message: "The body must be an object with userId, topic, payload, queue and ack"})
	}
	body, err := request.body()
	var e bridge.Envelope
	if err == nil {
		e, err = bridge.DecodeRequest(body)
	}
	if invalid, bad := errors.AsType[*bridge.InvalidError](err); bad {
		return reject(rejectInvalid(invalid, body))
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), h.cfg.ReplyTimeout)
	defer cancel()
	receipt, err := h.deliver(ctx, c, &e, body, publishOptions{queue: request.Queue, ack: request.Ack})
	if err != nil || receipt.Unsure {
		return reject(rejectReceipt(receipt, err))
	}
	return c.JSON(http.StatusOK, sendResponse{
		Outcome: receipt.Outcome, Sockets: receipt.Sockets, Offset: receipt.Offset,
		Acks: receipt.Acks, AckMillis: receipt.AckMillis, TookMillis: float64(time.Since(began).Microseconds()) / 1000,
	})
}
