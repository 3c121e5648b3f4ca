// Package apierror is the one format of errors over HTTP and in acknowledgements.
package apierror

import (
	"maps"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// Codes of errors that do not concern the message itself. Codes of invalid messages are
// package bridge's, those of authentication are package auth's.
const (
	UserNotFound     = "USER_NOT_FOUND"
	TooLarge         = "PAYLOAD_TOO_LARGE"
	MediaType        = "UNSUPPORTED_MEDIA_TYPE"
	Charset          = "UNSUPPORTED_CHARSET"
	Encoding         = "UNSUPPORTED_ENCODING"
	InvalidEncoding  = "INVALID_ENCODING"
	Unavailable      = "SERVICE_UNAVAILABLE"
	ReplyTimeout     = "REPLY_TIMEOUT"
	ShuttingDown     = "SHUTTING_DOWN"
	InvalidOffset    = "INVALID_OFFSET"
	InvalidParameter = "INVALID_PARAMETER"
	InvalidRequest   = "INVALID_REQUEST"
	NotFound         = "NOT_FOUND"
	Method           = "METHOD_NOT_ALLOWED"
	Internal         = "INTERNAL_ERROR"
	RateLimited      = "RATE_LIMITED"
	TooManySockets   = "TOO_MANY_SOCKETS"
	SlowRequest      = "REQUEST_TIMEOUT"
	UnknownEvent     = "UNKNOWN_EVENT"
)

// Body is the body of every HTTP error and of every failed acknowledgement.
type Body struct {
	Error     string         `json:"error"`
	Code      string         `json:"code"`
	Timestamp string         `json:"timestamp"` // RFC 3339, UTC
	Details   map[string]any `json:"details"`
}

// New makes a body with the current time.
func New(message, code string, details map[string]any) Body {
	return Body{Error: message, Code: code, Timestamp: time.Now().UTC().Format(time.RFC3339Nano), Details: details}
}

// Write answers a request with an error. The details name the request; a 503 asks the
// client to try again after a second.
func Write(c echo.Context, status int, code, message string, details map[string]any) error {
	all := map[string]any{"requestId": RequestID(c)}
	maps.Copy(all, details)
	if status == http.StatusServiceUnavailable {
		c.Response().Header().Set(echo.HeaderRetryAfter, "1")
	}
	return c.JSON(status, New(message, code, all))
}

// Refuse answers an operator's request with an error.
func Refuse(c echo.Context, status int, code, message, action string) error {
	return Write(c, status, code, message, map[string]any{"action": action})
}

// RequestID is the id of a request in logs, in error bodies and in the X-Request-ID
// header of its answer.
func RequestID(c echo.Context) string { return c.Response().Header().Get(echo.HeaderXRequestID) }
