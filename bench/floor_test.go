package main

import (
	"net/http"
	"testing"

	"github.com/gorilla/websocket"
)

// BenchmarkConnectFloor has the browsers of the scenario connect come to a server that does
// nothing: net/http and gorilla's websocket, three constant answers, no Socket.IO, no store. What
// a connect costs here no server on net/http can go below, on this machine with its load program.
// Run it with -benchtime 5000x.
func BenchmarkConnectFloor(b *testing.B) {
	if _, err := raiseFiles(); err != nil {
		b.Fatal(err)
	}
	_, s := swarmAt(b, answerThrice)
	b.ResetTimer()
	if err := s.connectAll(b.Context(), b.N); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "connects/s")
}

func answerThrice(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{ReadBufferSize: 128}
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer func() { _ = ws.Close() }()
	for _, answer := range []string{`0{"sid":"a"}`, `40{"sid":"b"}`, `430[{"ok":true}]`} {
		if ws.WriteMessage(websocket.TextMessage, []byte(answer)) != nil {
			return
		}
		if _, _, err := ws.ReadMessage(); err != nil {
			return
		}
	}
}
