package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/codewar/socketbridge/gateway/siotest"
	"github.com/codewar/socketbridge/internal/testutil/wait"
	"github.com/codewar/socketbridge/store"
)

// TestClientsAreLetGo: a node that nothing reaches, or whose id is another's, lets its clients go
// when another one serves, and refuses new ones until it serves again.
func TestClientsAreLetGo(t *testing.T) {
	t.Parallel()
	for _, check := range []string{"nats", "node"} {
		t.Run(check, func(t *testing.T) { testClientsAreLetGo(t, check) })
	}
}

func testClientsAreLetGo(t *testing.T, check string) {
	t.Parallel()
	srv := newTestServer(t, pushed)
	var cut atomic.Bool
	srv.health.checks = []Check{{Name: check, Err: func(context.Context) error {
		if cut.Load() {
			return errors.New("away")
		}
		return nil
	}}}
	srv.SetReady()
	memory := store.NewMemory(store.Limits{})
	self, other := memory.Node("self"), memory.Node("other")
	for _, n := range []*store.MemoryNode{self, other} {
		if _, err := n.Beat(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { srv.KeepServing(ctx, "self", self) })
	t.Cleanup(func() { stop(); running.Wait() }) // before the server's own
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = srv.Serve(l, nil) }() // ends with the server
	addr := l.Addr().String()
	siotest.Raw(t, addr)

	cut.Store(true)
	wait.For(t, "the client is let go", func() bool {
		if _, err := other.Serving(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		return srv.Stats().Websocket == 0
	})
	taken := func() bool {
		ws, answer, err := websocket.DefaultDialer.Dial("ws://"+addr+"/socket.io/?EIO=4&transport=websocket", nil)
		if answer != nil {
			_ = answer.Body.Close()
		}
		if err == nil {
			_ = ws.Close()
		}
		return err == nil
	}
	if taken() {
		t.Error("a new client is taken")
	}
	if status, _ := answer(srv, http.MethodPost, "/sendPayload", "application/json", "{"); (status != http.StatusServiceUnavailable) != (check == "nats") {
		t.Errorf("a call is answered with %d", status)
	}
	cut.Store(false)
	wait.For(t, "new clients are taken", taken)
}
