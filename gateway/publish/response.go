package publish

import (
	"bytes"
	"errors"
	"maps"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/apierror"
	"github.com/codewar/socketbridge/gateway/auth"
)

// publishResponse is the answer when a socket took the message, or when it is queued.
type publishResponse struct {
	Message string        `json:"message"` // a constant
	UserID  bridge.UserID `json:"userId"`
	Topic   string        `json:"topic"`
	Sockets int           `json:"sockets"`
	Queued  bool          `json:"queued,omitempty"`
	Offset  bridge.Offset `json:"offset"`
	// Of a message that clients were asked to confirm.
	Acks      *int    `json:"acks,omitempty"`
	AckMillis float64 `json:"ackMs,omitempty"`
}

// answer answers a call whose message was taken or queued.
func answer(c echo.Context, e *bridge.Envelope, receipt bridge.Receipt) error {
	status := statusFor(receipt)
	r := publishResponse{
		Message: "Payload sent successfully", UserID: e.User, Topic: e.Topic, Sockets: receipt.Sockets,
		Offset: receipt.Offset, Acks: receipt.Acks, AckMillis: receipt.AckMillis,
	}
	if status == http.StatusAccepted {
		r.Message, r.Queued = "Payload queued", true
	}
	return c.JSON(status, r)
}

// statusFor is the status of a call whose message was taken or queued.
func statusFor(r bridge.Receipt) int {
	if r.Outcome == bridge.Inboxed {
		return http.StatusAccepted
	}
	return http.StatusOK
}

// rejection is why a call is not served.
type rejection struct {
	status        int
	code, message string
	retryAfter    time.Duration  // after which the call may be tried again; 0: not known
	details       map[string]any // beside those of every error
}

// answer answers a call of /sendPayload. user is empty when it is not known.
func (r *rejection) answer(c echo.Context, user bridge.UserID) error {
	details := map[string]any{"action": "sendPayload", "userId": nil}
	if user != "" {
		details["userId"] = user
	}
	maps.Copy(details, r.details)
	if r.retryAfter > 0 {
		seconds := int((r.retryAfter + time.Second - 1) / time.Second)
		c.Response().Header().Set(echo.HeaderRetryAfter, strconv.Itoa(seconds))
	}
	auth.Challenge(c.Response().Header(), r.status, r.code)
	return apierror.Write(c, r.status, r.code, r.message, details)
}

// rejectReceipt is why a call fails after its message was to be published; nil when the message
// was taken or queued.
func rejectReceipt(r bridge.Receipt, err error) *rejection {
	switch {
	case errors.Is(err, bridge.ErrTooLarge):
		return &rejection{status: http.StatusRequestEntityTooLarge, code: apierror.TooLarge, message: "Body is too large"}
	case errors.Is(err, bridge.ErrNoReceipt) || err == nil && r.Unsure:
		return &rejection{status: http.StatusGatewayTimeout, code: apierror.ReplyTimeout, message: "No answer in time; the message is stored and may still arrive"}
	case err != nil:
		return &rejection{status: http.StatusServiceUnavailable, code: apierror.Unavailable, message: "Not available now, try again"}
	}
	switch r.Outcome {
	case bridge.Pushed, bridge.Duplicate, bridge.Inboxed:
		return nil
	case bridge.Offline:
		return &rejection{status: http.StatusNotFound, code: apierror.UserNotFound, message: "User not connected"}
	case bridge.Dead: // cannot be: DecodeRequest applies the same rules
	}
	return &rejection{status: http.StatusInternalServerError, code: apierror.Internal, message: "Unexpected outcome"}
}

// rejectInvalid is the rejection of an invalid message. The details name the field or the
// option, or the position in the text, and what was expected there. Lines and columns
// count from 1, a column in bytes; the position counts bytes from 0.
func rejectInvalid(e *bridge.InvalidError, body []byte) *rejection {
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
	return &rejection{status: http.StatusBadRequest, code: e.Code, message: e.Message, details: details}
}
