package hub

import (
	"context"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/sio"
)

// replacedAttempts is how often a node is notified, with a second for each answer.
const replacedAttempts = 5

// notifyReplaced notifies a node in the background that its socket has lost its id to a socket of
// this node: the client has resumed here, and its messages are routed here only.
func (h *Hub) notifyReplaced(r bridge.Replaced) {
	h.notifying.Go(func() {
		for range replacedAttempts {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			if h.cfg.Peers.Replaced(ctx, r) {
				cancel()
				return
			}
			<-ctx.Done() // a second for each try, also when NATS is away
			cancel()
		}
	})
}

// CloseReplaced closes the socket of a registration when another node has registered the same id:
// the socket would stay open and receive nothing. A socket that has registered again stays.
func (h *Hub) CloseReplaced(r bridge.Replaced) {
	for _, s := range h.of(r.User) {
		if now := s.registration(); now.Socket == r.Socket && now.Token == r.Token {
			s.conn.Close(sio.ReasonReplaced)
		}
	}
}
