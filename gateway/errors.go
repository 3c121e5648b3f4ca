package gateway

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// clientError is the `error` event: what the server itself has to say to a page.
type clientError struct {
	Type    string         `json:"type"`
	Message string         `json:"message"`
	Details map[string]any `json:"details"`
}

// errorBody is the body of every HTTP error and of every failed acknowledgement.
type errorBody struct {
	Error     string         `json:"error"`
	Code      string         `json:"code"`
	Timestamp string         `json:"timestamp"` // RFC 3339, UTC
	Details   map[string]any `json:"details"`
}

func newErrorBody(message, code string, details map[string]any) errorBody {
	return errorBody{Error: message, Code: code, Timestamp: time.Now().UTC().Format(time.RFC3339Nano), Details: details}
}

// Refuse answers an operator's request that was not served, in the one error format.
func Refuse(c echo.Context, status int, code, message, action string) error {
	if status == http.StatusServiceUnavailable {
		c.Response().Header().Set(echo.HeaderRetryAfter, "1")
	}
	return c.JSON(status, newErrorBody(message, code, map[string]any{"action": action, "requestId": c.Response().Header().Get(echo.HeaderXRequestID)}))
}

// Codes of errors that are not about the message itself; those are the bridge's.
const (
	codeUserNotFound    = "USER_NOT_FOUND"
	codeTooLarge        = "PAYLOAD_TOO_LARGE"
	codeUnsupported     = "UNSUPPORTED_MEDIA_TYPE"
	codeCharset         = "UNSUPPORTED_CHARSET"
	codeEncoding        = "UNSUPPORTED_ENCODING"
	codeInvalidEncoding = "INVALID_ENCODING"
	codeUnavailable     = "SERVICE_UNAVAILABLE"
	codeNoReply         = "REPLY_TIMEOUT"
	codeShuttingDown    = "SHUTTING_DOWN"
	codeInvalidOffset   = "INVALID_OFFSET"
	codeInvalidRequest  = "INVALID_REQUEST"
	codeNotFound        = "NOT_FOUND"
	codeMethod          = "METHOD_NOT_ALLOWED"
	codeInternal        = "INTERNAL_ERROR"
	codeRateLimited     = "RATE_LIMITED"
	codeTooManySockets  = "TOO_MANY_SOCKETS"
	codeSlowRequest     = "REQUEST_TIMEOUT"
	codeUnknownEvent    = "UNKNOWN_EVENT"
)
