package hub

import (
	"container/list"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// sessionSaves is how often, at least, a session is saved within its TTL while its client is
// connected.
const sessionSaves = 3

// SessionTTL is how long the store keeps a session after it was saved last. A session is useful
// while the history reaches back to its client's last message. A client that has left just before
// the next save still has the whole TTL of the history.
func SessionTTL(historyTTL time.Duration) time.Duration {
	return historyTTL * sessionSaves / (sessionSaves - 1)
}

// leftSessions are the sessions of clients that have left this node without a disconnect packet.
// They bound how much of the store clients can fill that connect under ever new names.
type leftSessions struct {
	most int           // 0: no limit
	ttl  time.Duration // after which the store drops a session

	mu    sync.Mutex               // guards what follows
	byPID map[string]*list.Element // of order
	order list.List                // of leftSession, oldest first
}

type leftSession struct {
	user bridge.UserID
	pid  string
	at   time.Time
}

// add adds a session whose client has left. When there are too many it returns the oldest, for the
// caller to drop from the store.
func (l *leftSessions) add(user bridge.UserID, pid string, now time.Time) (evicted leftSession, full bool) {
	if l.most <= 0 {
		return leftSession{}, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for e := l.order.Front(); e != nil && now.Sub(e.Value.(leftSession).at) >= l.ttl; e = l.order.Front() {
		l.remove(e)
	}
	if l.byPID == nil {
		l.byPID = make(map[string]*list.Element)
	}
	if e := l.byPID[pid]; e != nil {
		l.remove(e)
	}
	l.byPID[pid] = l.order.PushBack(leftSession{user, pid, now})
	if l.order.Len() <= l.most {
		return leftSession{}, false
	}
	return l.remove(l.order.Front()), true
}

// back removes a session whose client is connected again.
func (l *leftSessions) back(pid string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.byPID[pid]; e != nil {
		l.remove(e)
	}
}

// remove is called with l.mu held.
func (l *leftSessions) remove(e *list.Element) leftSession {
	s := l.order.Remove(e).(leftSession)
	delete(l.byPID, s.pid)
	return s
}

// leaveSession keeps the session of a client that has left, which the store drops after SessionTTL.
// It reports whether another session was dropped for it.
func (h *Hub) leaveSession(user bridge.UserID, pid string) (full bool) {
	evicted, full := h.left.add(user, pid, time.Now())
	if full {
		h.dropSession(evicted.user, evicted.pid)
	}
	return full
}

// dropSession deletes the session of a client that does not come back. A session that is not
// deleted expires.
func (h *Hub) dropSession(user bridge.UserID, pid string) {
	if user == "" || pid == "" {
		return // no session was saved
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := h.store.DropSession(ctx, user, pid); err != nil {
		h.log.LogAttrs(ctx, slog.LevelDebug, "session not dropped", slog.Any("err", err))
	}
}
