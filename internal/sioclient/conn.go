// Package sioclient is the server's other side: the least of Engine.IO 4 and
// Socket.IO 5 that a page needs, over one websocket. It keeps what the stock
// client keeps (pid and offset), so that a page can resume, and is strict where
// the stock client is lenient: what the protocol does not allow is an error.
package sioclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/gorilla/websocket"
)

var (
	// ErrProtocol means that the server has said what it must not say.
	ErrProtocol = errors.New("against the protocol")
	// ErrLeft means that the server has ended the socket.
	ErrLeft = errors.New("socket ended by the server")
)

// RefusedError is the server's no: to the handshake, to joining or to an event.
type RefusedError struct {
	Status  int    // of the handshake's HTTP answer, 0 when it came later
	Code    string // for programs, "" when there is none
	Message string
}

func (e *RefusedError) Error() string {
	switch {
	case e.Code != "":
		return e.Message + " (" + e.Code + ")"
	case e.Status != 0:
		return fmt.Sprintf("%s (HTTP %d)", e.Message, e.Status)
	}
	return e.Message
}

// Session is what a page remembers from one connection to the next. The zero
// value is a page that was just opened. An offset without a pid is honoured too:
// the page then gets what came after it.
type Session struct{ PID, Offset string }

// Options say where to connect, and as whom.
type Options struct {
	URL     string            // of the bridge: http, https, ws or wss, host and port
	Dialer  *websocket.Dialer // nil: the library's default
	Header  http.Header       // of the handshake; may be nil
	Token   string            // for auth.mode jwt; may be empty
	Session Session           // to resume
}

// Conn is one connection that has joined the namespace. All of its methods but
// Close belong to one goroutine.
type Conn struct {
	ws        *websocket.Conn
	release   func() bool // of the context
	patience  time.Duration
	sid       string
	session   Session
	recovered bool
	calls     map[uint64]func([]json.RawMessage) error // that wait for an answer
	lastCall  uint64
}

// Dial connects and joins the namespace. The connection ends with ctx. A server
// that says no is a [*RefusedError].
func Dial(ctx context.Context, o Options) (*Conn, error) {
	target, err := endpoint(o.URL)
	if err != nil {
		return nil, err
	}
	dialer := o.Dialer
	if dialer == nil {
		dialer = websocket.DefaultDialer
	}
	ws, res, err := dialer.DialContext(ctx, target, o.Header)
	if err != nil {
		if res != nil {
			return nil, refusal(res)
		}
		return nil, fmt.Errorf("connect: %w", err)
	}
	_ = res.Body.Close()
	c := &Conn{ws: ws, patience: joinLimit, session: o.Session, calls: make(map[uint64]func([]json.RawMessage) error)}
	c.release = context.AfterFunc(ctx, func() { _ = ws.Close() })
	if err := c.join(o); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// joinLimit is how long the server may be silent before it has told its ping
// interval.
const joinLimit = 30 * time.Second

// maxMessage bounds what one message of the server may take, in bytes.
const maxMessage = 64 << 20

func endpoint(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return "", fmt.Errorf("connect to %q: must be http://host:port or https://host:port", text)
	}
	switch u.Scheme {
	case "http", "ws":
		u.Scheme = "ws"
	case "https", "wss":
		u.Scheme = "wss"
	default:
		return "", fmt.Errorf("connect to %q: must be http://host:port or https://host:port", text)
	}
	// The order of the stock client, by which the server knows it.
	return u.Scheme + "://" + u.Host + "/socket.io/?EIO=4&transport=websocket", nil
}

// refusal reads the answer to a handshake that failed: Engine.IO's own has a
// message, the bridge's a code as well.
func refusal(res *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(res.Body, 4096)) // the library has buffered some of it
	_ = res.Body.Close()
	var body struct {
		Error, Message string
		Code           any
	}
	e := &RefusedError{Status: res.StatusCode, Message: "handshake refused"}
	if json.Unmarshal(text, &body) == nil {
		e.Code, _ = body.Code.(string)
		if message := body.Error + body.Message; message != "" {
			e.Message = message
		}
	}
	return e
}

// join opens the Engine.IO session and enters the namespace.
func (c *Conn) join(o Options) error {
	c.ws.SetReadLimit(maxMessage)
	text, err := c.text()
	if err != nil {
		return err
	}
	var open struct{ PingInterval, PingTimeout int64 } // ms
	if text[0] != '0' || json.Unmarshal(text[1:], &open) != nil {
		return strange(text)
	}
	c.patience = time.Duration(open.PingInterval+open.PingTimeout)*time.Millisecond + time.Second
	auth := map[string]any{"resume": true}
	for name, value := range map[string]string{"token": o.Token, "pid": c.session.PID, "offset": c.session.Offset} {
		if value != "" {
			auth[name] = value
		}
	}
	b, _ := json.Marshal(auth) // texts always encode
	if err := c.write(append([]byte("40"), b...)); err != nil {
		return err
	}
	return c.joined()
}

// joined waits for the answer to the CONNECT packet.
func (c *Conn) joined() error {
	text, err := c.text()
	if err != nil {
		return err
	}
	var answer struct {
		SID, PID, Message string
		Data              struct{ Code string }
	}
	if len(text) < 2 || text[0] != '4' || json.Unmarshal(text[2:], &answer) != nil {
		return strange(text)
	}
	switch {
	case text[1] == '4':
		return &RefusedError{Code: answer.Data.Code, Message: answer.Message}
	case text[1] != '0' || answer.SID == "":
		return strange(text)
	}
	c.sid, c.recovered = answer.SID, c.session.PID != "" && c.session.PID == answer.PID
	c.session.PID = answer.PID
	return nil
}

// ID is the socket's id, which the server knows it by.
func (c *Conn) ID() string { return c.sid }

// Recovered reports whether the server has taken the session up where it was.
func (c *Conn) Recovered() bool { return c.recovered }

// Session is what the next connection needs to go on where this one is.
func (c *Conn) Session() Session { return c.session }

// Close ends the connection without a word, as a page that is closed does. It
// may be called at any time, from anywhere and again.
func (c *Conn) Close() {
	c.release()
	_ = c.ws.Close()
}

// text reads one Engine.IO packet that is not a heartbeat, which it answers.
func (c *Conn) text() ([]byte, error) {
	for {
		_ = c.ws.SetReadDeadline(time.Now().Add(c.patience))
		kind, text, err := c.ws.ReadMessage()
		if err != nil {
			return nil, fmt.Errorf("read: %w", err)
		}
		if kind != websocket.TextMessage || len(text) == 0 {
			return nil, strange(text)
		}
		switch string(text) {
		case "2": // ping
			if err := c.write([]byte("3")); err != nil {
				return nil, err
			}
		case "6": // noop
		case "1":
			return nil, ErrLeft
		default:
			return text, nil
		}
	}
}

func (c *Conn) write(text []byte) error {
	_ = c.ws.SetWriteDeadline(time.Now().Add(writeLimit))
	if err := c.ws.WriteMessage(websocket.TextMessage, text); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// writeLimit is how long the server may take nothing.
const writeLimit = 10 * time.Second

func strange(text []byte) error { return fmt.Errorf("%w: %.100q", ErrProtocol, text) }
