package compat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	gorilla "github.com/gorilla/websocket"
)

const (
	// patience is how long a client waits for what a server should send.
	patience = 5 * time.Second
	// settling is how long a request that the server does not answer may take to reach
	// it. No sign of its arrival can be observed.
	settling = 150 * time.Millisecond
)

// client is one client of a server; its methods panic with [unexpected].
type client struct {
	base     string
	inflates bool // its websockets offer permessage-deflate
	http     *http.Client
	ctx      context.Context
	cancel   context.CancelFunc
}

func newClient(base string) *client {
	ctx, cancel := context.WithCancel(context.Background())
	return &client{base: base, http: &http.Client{Transport: &http.Transport{}}, ctx: ctx, cancel: cancel}
}

func (c *client) close() {
	c.cancel()
	c.http.CloseIdleConnections()
}

// settle waits until what was sent has reached the server.
func settle() { <-time.After(settling) }

// secrets are what differs from run to run.
var secrets = regexp.MustCompile(`((?:sid|pid|socketId|timestamp)\\?":\\?")[^"\\]*`)

func mask(text string) string { return secrets.ReplaceAllString(text, "${1}…") }

// answer is the answer to a request.
type answer struct {
	status int
	header http.Header
	body   string
}

// String is the status and the body, or "no answer".
func (a answer) String() string {
	if a.status == 0 {
		return "no answer"
	}
	if a.body == "" {
		return fmt.Sprintf("%d, no body", a.status)
	}
	return fmt.Sprintf("%d `%s`", a.status, mask(a.body))
}

// pick returns the values of header fields, one by one.
func (a answer) pick(names ...string) string {
	out := fmt.Sprint(a.status)
	for _, name := range names {
		value := strings.Join(a.header.Values(name), ", ")
		if value == "" {
			value = "none"
		}
		out += fmt.Sprintf("; %s: %s", name, value)
	}
	return out
}

// ask sends a request to the endpoint. Of an answer that does not come in time, or whose
// connection is closed, the status is 0.
func (c *client) ask(method, query, body string, header ...string) answer {
	return c.askAt(method, "/socket.io/?"+query, body, header...)
}

func (c *client) askAt(method, target, body string, header ...string) answer {
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+target, content)
	if err != nil {
		stop("%v", err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := c.http.Do(r)
	if err != nil {
		return answer{}
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{}
	}
	return answer{res.StatusCode, res.Header, string(text)}
}

// session is a session that polls.
type session struct {
	*client
	sid, query string
}

const pollingQuery = "EIO=4&transport=polling"

// open begins a session that polls.
func (c *client) open() *session {
	a := c.ask("GET", pollingQuery, "")
	var open struct{ Sid string }
	if a.status != http.StatusOK || !strings.HasPrefix(a.body, "0{") || json.Unmarshal([]byte(a.body[1:]), &open) != nil {
		stop("handshake: %v", a)
	}
	return &session{c, open.Sid, pollingQuery + "&sid=" + url.QueryEscape(open.Sid)}
}

// join begins a session that polls and joins the namespace.
func (c *client) join() *session {
	s := c.open()
	s.say("40")
	if a := s.get(); !strings.HasPrefix(a.body, "40{") {
		stop("CONNECT: %v", a)
	}
	return s
}

func (s *session) get() answer             { return s.ask("GET", s.query, "") }
func (s *session) post(body string) answer { return s.ask("POST", s.query, body) }

// say sends what the server must take.
func (s *session) say(packets ...string) {
	if a := s.post(strings.Join(packets, "\x1e")); a.body != "ok" {
		stop("POST: %v", a)
	}
}

// hang sends a GET and returns when it is at the server.
func (s *session) hang() <-chan answer {
	got := make(chan answer, 1)
	go func() { got <- s.get() }()
	settle()
	return got
}

// alive tells whether the server knows the session. It asks on a connection of its own
// and sends an event.
func (s *session) alive() string {
	settle()
	other := &session{newClient(s.base), s.sid, s.query}
	defer other.close()
	if a := other.post(`42["getConnectionId","nobody"]`); a.body != "ok" {
		return "the session is gone"
	}
	return "the session lives"
}

// posting is a POST whose body is still to come.
type posting struct{ conn net.Conn }

// post begins a POST and returns when its head is at the server.
func (s *session) beginPost(length int) posting {
	u, _ := url.Parse(s.base) // it has been used
	conn, err := net.DialTimeout("tcp", u.Host, patience)
	if err != nil {
		stop("%v", err)
	}
	context.AfterFunc(s.ctx, func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience)) // a broken connection shows in the read
	fmt.Fprintf(conn, "POST /socket.io/?%s HTTP/1.1\r\nHost: %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", s.query, u.Host, length)
	settle()
	return posting{conn}
}

// ws is a websocket.
type ws struct{ conn *gorilla.Conn }

const websocketQuery = "EIO=4&transport=websocket"

// connect opens a websocket; without one the answer says why.
func (c *client) connect(query string, header ...string) (*ws, answer) {
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	h := make(http.Header)
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	dialer := gorilla.Dialer{EnableCompression: c.inflates}
	conn, res, err := dialer.DialContext(ctx, "ws"+strings.TrimPrefix(c.base, "http")+"/socket.io/?"+query, h)
	a := answer{}
	if res != nil {
		a = answer{status: res.StatusCode, header: res.Header}
		text, _ := io.ReadAll(res.Body) // gorilla has kept its beginning
		a.body = string(text)
	}
	if err != nil {
		return nil, a
	}
	context.AfterFunc(c.ctx, func() { conn.Close() })
	return &ws{conn}, a
}

// refused is what a websocket that should be refused is answered.
func (c *client) refused(query string, header ...string) string {
	w, a := c.connect(query, header...)
	if w == nil {
		return a.String()
	}
	return "101, then " + w.read()
}

// dial opens a websocket that must be taken.
func (c *client) dial(query string) *ws {
	w, a := c.connect(query)
	if w == nil {
		stop("websocket: %v", a)
	}
	return w
}

// openWS begins a session on a websocket.
func (c *client) openWS() *ws {
	w := c.dial(websocketQuery)
	w.want("0{")
	return w
}

// joinWS begins a session on a websocket and joins the namespace.
func (c *client) joinWS() *ws {
	w := c.openWS()
	w.send("40")
	w.want("40{")
	return w
}

// send sends a text message. A closed connection shows in the next read.
func (w *ws) send(text string) { _ = w.conn.WriteMessage(gorilla.TextMessage, []byte(text)) }

func (w *ws) sendBinary(data string) { _ = w.conn.WriteMessage(gorilla.BinaryMessage, []byte(data)) }

// read returns the next message, or how the connection ends.
func (w *ws) read() string {
	_ = w.conn.SetReadDeadline(time.Now().Add(patience))
	_, text, err := w.conn.ReadMessage()
	var closed *gorilla.CloseError
	var timeout net.Error
	switch {
	case err == nil:
		return fmt.Sprintf("`%s`", mask(string(text)))
	case errors.As(err, &closed) && (closed.Code == gorilla.CloseNormalClosure || closed.Code == gorilla.CloseNoStatusReceived):
		return "closed"
	case errors.As(err, &closed) && closed.Code != gorilla.CloseAbnormalClosure:
		return fmt.Sprintf("closed (%d)", closed.Code)
	case errors.As(err, &timeout) && timeout.Timeout():
		return "nothing"
	}
	return "closed without a close frame"
}

// reads returns what comes until the connection ends, n messages at most.
func (w *ws) reads(n int) string {
	var all []string
	for len(all) < n {
		text := w.read()
		all = append(all, text)
		if !strings.HasPrefix(text, "`") {
			break
		}
	}
	return strings.Join(all, ", ")
}

// want reads a message that must begin so.
func (w *ws) want(prefix string) {
	if text := w.read(); !strings.HasPrefix(text, "`"+prefix) {
		stop("%s instead of %s…", text, prefix)
	}
}

// alive tells whether the session is there: an event is answered.
func (w *ws) alive() string {
	w.send(`42["getConnectionId","nobody"]`)
	if text := w.read(); text != "`"+`42["connectionId",null]`+"`" {
		return text
	}
	return "the session lives"
}
