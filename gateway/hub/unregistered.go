package hub

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// registerMissingEvery is how often the hub tries to register unregistered sockets.
const registerMissingEvery = time.Second

// unregistered are the sockets that the store does not know of because it was away when they were
// mapped. While there are any, or the store has not heard of this node for a while, the node is
// sent every message.
type unregistered struct {
	tell  func(bool) // nil: no socket goes without
	quiet bridge.LogLimiter

	mu      sync.Mutex       // guards all below, and the order of tell
	sockets map[*socket]bool // that are to be registered
	away    bool             // the store does not answer this node
	said    bool
}

// update tells the leader what has changed. With u.mu held.
func (u *unregistered) update() {
	if now := u.away || len(u.sockets) > 0; now != u.said && u.tell != nil {
		u.said = now
		u.tell(now)
	}
}

// goUnregistered reports whether a socket whose registration has failed goes on unregistered. The
// leader is told before the socket asks for its history, so that the socket misses no message.
func (h *Hub) goUnregistered(s *socket, why error) bool {
	u := &h.unregistered
	if u.tell == nil || errors.Is(why, bridge.ErrRefused) {
		return false
	}
	u.mu.Lock()
	if u.sockets == nil {
		u.sockets = make(map[*socket]bool)
	}
	u.sockets[s] = true
	u.update()
	u.mu.Unlock()
	if times, due := u.quiet.Due(time.Now()); due {
		h.log.LogAttrs(context.Background(), slog.LevelWarn, "sockets go unregistered, this node is sent every message", slog.Any("err", why), slog.Int("times", times))
	}
	return true
}

// StoreAway sets whether the store has not heard of this node for a while. The store may then
// count the node as dead, and no message would be forwarded to it.
func (h *Hub) StoreAway(away bool) {
	u := &h.unregistered
	u.mu.Lock()
	defer u.mu.Unlock()
	u.away = away
	u.update()
}

// registerMissing registers unregistered sockets, if the store answers again.
func (h *Hub) registerMissing(ctx context.Context) {
	u := &h.unregistered
	var begun, done []*socket
	u.mu.Lock()
	for s := range u.sockets {
		if _, mapped := s.renewal(time.Now()); mapped {
			begun = append(begun, s)
		} else if s.registration().User == "" {
			done = append(done, s) // it has left
		}
	}
	u.mu.Unlock()
	if len(begun) > 0 && h.renew(ctx, begun) == nil {
		h.saveSessions(ctx, begun)
		done = append(done, begun...)
	}
	if len(done) == 0 {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, s := range done {
		delete(u.sockets, s)
	}
	u.update()
}
