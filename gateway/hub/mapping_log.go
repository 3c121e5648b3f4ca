package hub

import (
	"slices"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/sio"
)

// Kinds of a [SocketEvent].
const (
	SocketConnected    = "connected"    // mapped to its user
	SocketResumed      = "resumed"      // the same, as the socket it was before
	SocketDisconnected = "disconnected" // no longer mapped
)

// reasonMoved ends a mapping whose client has named another user.
const reasonMoved = "mapped to another user"

// SocketEvent records that a socket of this node was mapped to a user, or is mapped no longer.
type SocketEvent struct {
	At        time.Time
	Event     string
	User      bridge.UserID
	Socket    bridge.SocketID
	Transport string
	// Of a disconnected socket: the reason, how long it was connected, the last message that it was
	// given, and the last that its client has confirmed.
	Reason       string
	Took         time.Duration
	Given, Acked bridge.Offset
}

// eventsKept is how many events are kept, in some 4 MB.
const eventsKept = 16_384

// noteMapped remembers that a socket has been mapped to its user.
func (ev *Handler) noteMapped(c *sio.Socket, user bridge.UserID, event string) {
	ev.mapped.Add(1)
	ev.events.Add(SocketEvent{At: time.Now(), Event: event, User: user, Socket: bridge.SocketID(c.ID()), Transport: c.Transport()})
}

// noteEnd remembers that a socket, if it was mapped, is mapped no longer.
func (ev *Handler) noteEnd(c *sio.Socket, s *socket, reason string) {
	session := s.session()
	if session.User == "" {
		return
	}
	ev.events.Add(SocketEvent{
		At: time.Now(), Event: SocketDisconnected, User: session.User, Socket: session.Socket, Transport: c.Transport(),
		Reason: reason, Took: time.Since(c.Since()), Given: s.lastGiven(), Acked: s.lastConfirmed(),
	})
}

// SocketEvents returns the newest events of a user's sockets on this node, newest
// first. Only so many of all users are kept, and none from before this process.
func (ev *Handler) SocketEvents(user bridge.UserID, limit int) []SocketEvent {
	return ev.events.Newest(limit, func(e *SocketEvent) bool { return e.User == user })
}

// Mapped counts how often a socket of this node was mapped to a user.
func (ev *Handler) Mapped() uint64 { return ev.mapped.Load() }

// SocketState is one socket of this node.
type SocketState struct {
	Socket    bridge.SocketID
	Since     time.Time // when its connection was made
	Transport string
	Given     bridge.Offset // the last message it was given
	Acked     bridge.Offset // the last that its client has confirmed; zero: none
	Queued    int           // bytes
}

// SocketsOf describes the user's sockets on this node, oldest first.
func (h *Hub) SocketsOf(user bridge.UserID) (found []SocketState) {
	for _, s := range h.of(user) {
		given, ok := s.deliveredTo(user)
		if !ok {
			continue
		}
		state := SocketState{Socket: bridge.SocketID(s.conn.ID()), Given: given.To, Acked: s.lastConfirmed()}
		if c, ok := s.conn.(*sio.Socket); ok {
			state.Since, state.Transport, state.Queued = c.Since(), c.Transport(), c.Pending()
		}
		found = append(found, state)
	}
	return found
}

// UserState is one user with sockets on this node.
type UserState struct {
	User    bridge.UserID
	Sockets int
	Since   time.Time // when the oldest connection was made
}

// UsersLike describes the users with sockets on this node whose ids begin with
// prefix: the first ones by id, at most limit, and how many there are in all.
func (h *Hub) UsersLike(prefix string, limit int) (first []UserState, total int) {
	byID := func(a, b UserState) int {
		if a.User < b.User {
			return -1
		}
		return 1
	}
	cut := func() {
		slices.SortFunc(first, byID)
		first = first[:min(len(first), limit)]
	}
	for i := range h.shards {
		sh := &h.shards[i]
		sh.mu.RLock()
		for user, sockets := range sh.users {
			if len(user) < len(prefix) || string(user[:len(prefix)]) != prefix || sockets[0].loopback {
				continue
			}
			total++
			u := UserState{User: user, Sockets: len(sockets)}
			if c, ok := sockets[0].conn.(*sio.Socket); ok {
				u.Since = c.Since()
			}
			first = append(first, u)
		}
		sh.mu.RUnlock()
		if len(first) > 2*limit { // so that memory does not grow with the users
			cut()
		}
	}
	cut()
	return first, total
}
