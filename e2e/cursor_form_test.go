package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// plain is a client that makes the request of a browser's WebSocket, as the libraries for
// JavaScript and for Dart do: nothing tells which. It keeps the last text of any event, as
// both do, and fails when an event of a topic has any other argument than the payload.
type plain struct {
	t      testing.TB
	ws     *websocket.Conn
	pid    string
	cursor string
	told   int // events bridge:offset
}

// joinPlain connects, with what the client keeps.
func joinPlain(t testing.TB, n *node, kept *plain) *plain {
	t.Helper()
	ws, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(n.url, "http")+"/socket.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.Close() })
	p := &plain{t: t, ws: ws}
	connect := "40"
	if kept != nil {
		connect += fmt.Sprintf(`{"pid":%q,"offset":%q}`, kept.pid, kept.cursor)
		p.cursor = kept.cursor
	}
	p.say(connect)
	var joined struct{ PID string }
	if text := p.await("40"); json.Unmarshal([]byte(text[2:]), &joined) != nil || joined.PID == "" {
		t.Fatalf("joined: %s", text)
	}
	p.pid = joined.PID
	return p
}

func (p *plain) say(text string) {
	p.t.Helper()
	if err := p.ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		p.t.Fatal(err)
	}
}

// await reads until a packet begins with the prefix, and keeps what the library keeps.
func (p *plain) await(prefix string) string {
	p.t.Helper()
	_ = p.ws.SetReadDeadline(time.Now().Add(15 * time.Second))
	for {
		_, b, err := p.ws.ReadMessage()
		if err != nil {
			p.t.Fatalf("waiting for %s: %v", prefix, err)
		}
		text := string(b)
		if text == "2" {
			p.say("3")
		}
		if strings.HasPrefix(text, "42[") {
			p.keep(text)
		}
		if strings.HasPrefix(text, prefix) {
			return text
		}
	}
}

func (p *plain) keep(text string) {
	p.t.Helper()
	var args []any
	if err := json.Unmarshal([]byte(text[2:]), &args); err != nil {
		p.t.Fatalf("%s: %v", text, err)
	}
	if args[0] == "bridge:offset" {
		p.told++
	} else if len(args) != 2 {
		p.t.Fatalf("an event with more than its payload: %s", text)
	}
	if last, ok := args[len(args)-1].(string); ok {
		p.cursor = last
	}
}

// TestCursorEvents: a client that cannot be told from one in Dart gets events of one
// argument, as the Node service sent them. Its cursor comes in events of its own, one for
// all that is written together, and it resumes by it.
func TestCursorEvents(t *testing.T) {
	t.Parallel()
	n, natsURL := embedded(t)
	pub := connect(t, natsURL)
	p := joinPlain(t, n, nil)
	p.say(`421["setUserId","u"]`)
	p.await("431")
	p.say(`42["getConnectionId","u"]`)
	p.await(`42["connectionId"`)
	p.await(`42["bridge:offset"`) // a library takes the socket's id for a cursor
	const burst = 500
	p.told = 0
	for i := range burst {
		pub.core("tick", fmt.Sprintf(`{"userId":"u","n":%d}`, i))
	}
	for i := range burst {
		p.await(fmt.Sprintf(`42["tick",{"n":%d}]`, i))
	}
	p.await(`42["bridge:offset"`)
	if p.told >= burst/2 {
		t.Errorf("%d events told the cursor of %d messages", p.told, burst)
	}

	other := joinPlain(t, n, nil)
	other.say(`421["setUserId","u"]`)
	other.await("431")
	p.ws.Close()
	pub.tick("u", burst, burst+5)
	other.await(fmt.Sprintf(`42["tick",{"n":%d}]`, burst+4))
	again := joinPlain(t, n, p)
	if again.pid != p.pid {
		t.Error("not recovered")
	}
	for i := burst; i < burst+5; i++ {
		if got, want := again.await(`42["tick"`), fmt.Sprintf(`42["tick",{"n":%d}]`, i); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
}
