package hub

import (
	"context"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/sio"
)

// replacedAttempts is how often a node is told, with a second for each answer.
const replacedAttempts = 5

// notifyReplaced tells a node, in the background, that its socket is no longer the one of
// that id: the client has resumed here, and messages come to this node only.
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

// CloseReplaced closes the socket that a registration was made for, when another node
// has registered the same id: it would stay open and hear nothing. A socket that has
// registered again since then stays.
func (h *Hub) CloseReplaced(r bridge.Replaced) {
	for _, s := range h.of(r.User) {
		if now := s.registration(); now.Socket == r.Socket && now.Token == r.Token {
			s.conn.Close(sio.ReasonReplaced)
		}
	}
}
