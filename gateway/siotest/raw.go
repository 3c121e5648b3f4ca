package siotest

import (
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// Raw opens a WebSocket at an address, joins the namespace and then says each text. The
// test decides what becomes of it: reading, answering pings, or nothing of that.
func Raw(t testing.TB, addr string, say ...string) *websocket.Conn {
	t.Helper()
	ws, _, err := websocket.DefaultDialer.Dial("ws://"+addr+"/socket.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.Close() }) // the test may have closed it
	for _, text := range append([]string{"40"}, say...) {
		if err := ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	return ws
}

// Await reads until a packet begins with the prefix, for ten seconds.
func Await(t testing.TB, ws *websocket.Conn, prefix string) string {
	t.Helper()
	_ = ws.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		_, text, err := ws.ReadMessage()
		if err != nil {
			t.Fatalf("waiting for %s: %v", prefix, err)
		}
		if strings.HasPrefix(string(text), prefix) {
			return string(text)
		}
	}
}
