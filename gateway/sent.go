package gateway

import (
	"encoding/json"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/codewar/socketbridge/bridge"
)

// sent is the answer when a socket took the message, or when it is queued.
type sent struct {
	Message string        `json:"message"` // a constant
	UserID  bridge.UserID `json:"userId"`
	Topic   string        `json:"topic"`
	Sockets int           `json:"sockets"`
	Queued  bool          `json:"queued,omitempty"`
	Offset  bridge.Offset `json:"offset"`
	// Of a message that pages were asked to confirm.
	Acks      *int    `json:"acks,omitempty"`
	AckMillis float64 `json:"ackMs,omitempty"`
}

func (s sent) answer(c echo.Context, status int) error {
	if s.Queued || s.Acks != nil {
		return c.JSON(status, s)
	}
	return c.JSONBlob(status, s.append(make([]byte, 0, 256)))
}

// append spells what nearly every caller is answered, as [json.Marshal] would, without
// asking what it is made of.
func (s sent) append(b []byte) []byte {
	user, _ := json.Marshal(s.UserID) // a string cannot fail
	b = append(append(b, `{"message":"`...), s.Message...)
	b = append(append(b, `","userId":`...), user...)
	b = append(append(b, `,"topic":"`...), s.Topic...) // it has nothing to escape
	b = strconv.AppendInt(append(b, `","sockets":`...), int64(s.Sockets), 10)
	b = s.Offset.Append(append(b, `,"offset":"`...))
	return append(b, "\"}\n"...)
}
