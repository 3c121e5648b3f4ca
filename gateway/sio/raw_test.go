package sio

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// wsClient is a client that speaks frames, so that a test can break the rules.
type wsClient struct {
	t  testing.TB
	ws *websocket.Conn
}

func wsURL(url, query string) string {
	return "ws" + strings.TrimPrefix(url, "http") + "/socket.io/?EIO=4&transport=websocket" + query
}

// dialWS opens a websocket; query is appended to what every client sends.
func dialWS(t testing.TB, url, query string) *wsClient {
	t.Helper()
	ws, _, err := websocket.DefaultDialer.Dial(wsURL(url, query), nil)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	t.Cleanup(func() { ws.Close() })
	return &wsClient{t, ws}
}

// joinWS opens a websocket and joins the namespace.
func joinWS(t testing.TB, url, auth string) *wsClient {
	t.Helper()
	c := dialWS(t, url, "")
	c.want("0{")
	c.send("40" + auth)
	c.want("40{")
	return c
}

func (c *wsClient) send(text string) {
	c.t.Helper()
	if err := c.ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		c.t.Fatalf("send %.40q: %v", text, err)
	}
}

// try sends and does not mind when the server has closed.
func (c *wsClient) try(text string) { _ = c.ws.WriteMessage(websocket.TextMessage, []byte(text)) }

func (c *wsClient) read() (string, error) {
	_ = c.ws.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, data, err := c.ws.ReadMessage()
	return string(data), err
}

// want reads one message and checks how it begins.
func (c *wsClient) want(prefix string) string {
	c.t.Helper()
	got, err := c.read()
	if err != nil || !strings.HasPrefix(got, prefix) {
		c.t.Fatalf("got %.80q, %v, want %q…", got, err, prefix)
	}
	return got
}

// wantEnd reads until the server closes and returns what came before.
func (c *wsClient) wantEnd() (got []string) {
	c.t.Helper()
	for {
		text, err := c.read()
		if err == nil {
			got = append(got, text)
			continue
		}
		if timeout, ok := err.(interface{ Timeout() bool }); ok && timeout.Timeout() {
			c.t.Fatalf("not closed; got %q", got)
		}
		return got
	}
}

// pollClient is a polling client that a test takes through each request.
type pollClient struct {
	t    testing.TB
	url  string
	sid  string
	from string // see fromHeader
}

func dialPolling(t testing.TB, url string) *pollClient { return dialPollingFrom(t, url, "") }

func dialPollingFrom(t testing.TB, url, from string) *pollClient {
	t.Helper()
	c := &pollClient{t: t, url: url + "/socket.io/?EIO=4&transport=polling", from: from}
	status, body := c.get()
	var open struct{ Sid string }
	if status != http.StatusOK || !strings.HasPrefix(body, "0{") || json.Unmarshal([]byte(body[1:]), &open) != nil {
		t.Fatalf("handshake: %d %q", status, body)
	}
	c.sid = open.Sid
	c.url += "&sid=" + open.Sid
	return c
}

func joinPolling(t testing.TB, url, auth string) *pollClient {
	t.Helper()
	c := dialPolling(t, url)
	c.wantPost("40" + auth)
	if status, body := c.get(); status != http.StatusOK || !strings.HasPrefix(body, "40{") {
		t.Fatalf("join: %d %q", status, body)
	}
	return c
}

func (c *pollClient) get() (int, string) {
	c.t.Helper()
	return c.do(http.MethodGet, nil)
}

func (c *pollClient) post(body string) (int, string) {
	c.t.Helper()
	return c.do(http.MethodPost, strings.NewReader(body))
}

func (c *pollClient) wantPost(body string) {
	c.t.Helper()
	if status, answer := c.post(body); status != http.StatusOK || answer != "ok" {
		c.t.Fatalf("post %.40q: %d %q", body, status, answer)
	}
}

// do sends one request. Transport errors become status 0, for a server that closes.
func (c *pollClient) do(method string, body io.Reader) (int, string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.url, body)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("From", c.from)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(data)
}

// events polls until n events have come and returns their payloads.
func (c *pollClient) events(n int) []string {
	c.t.Helper()
	var got []string
	for len(got) < n {
		status, body := c.get()
		if status != http.StatusOK {
			c.t.Fatalf("after %d events: %d %q", len(got), status, body)
		}
		for text := range strings.SplitSeq(body, "\x1e") {
			if strings.HasPrefix(text, "42") {
				got = append(got, text)
			}
		}
	}
	return got
}

// numbered is the n-th packet of a burst, and what the client should see of it.
func numbered(n int) *Packet {
	return EventPacket("n", fmt.Appendf(nil, `{"n":%d}`, n), fmt.Sprint("1-", n))
}

func wantNumbered(t testing.TB, got []string) {
	t.Helper()
	for i, text := range got {
		if want := fmt.Sprintf(`42["n",{"n":%d},"1-%d"]`, i, i); text != want {
			t.Fatalf("event %d is %q, want %q", i, text, want)
		}
	}
}
