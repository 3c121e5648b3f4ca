package hub

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/sio"
)

// conn is what the hub needs of a [sio.Socket].
type conn interface {
	ID() string
	PID() string
	// Push queues a packet and never waits, nor keeps it. An error means that the
	// connection is closed, or is being closed because it is slow.
	Push(*sio.Packet) error
	// Queue does the same when the caller has the server flush after it.
	Queue(*sio.Packet) error
	Emit(event string, args ...any) error
	// EmitWithAck queues an event that the client is to confirm. done is called once,
	// unless EmitWithAck returns an error.
	EmitWithAck(event string, timeout time.Duration, args []any, done sio.AckFunc) error
	// WaitDrained waits until less than that many bytes are queued.
	WaitDrained(ctx context.Context, below int) error
	// Pending is how many bytes are queued.
	Pending() int
	Close(reason string)
}

// socket is one socket of this node and what it was given.
type socket struct {
	conn     conn
	cursors  cursorForm
	traces   bool      // its client is told the trace of a traced message
	loopback bool      // it is this process itself, see [Hub.Loopback], and is not counted
	who      *identity // whom the client's token was made for; nil without authentication
	chosen   string    // id that the client has chosen for its sessions

	// Owned by the goroutine of the socket's events.
	mapped  time.Time      // when the user was last logged as connected; zero: it is not mapped
	claimed *bridge.Cursor // what the client presented when it connected, until used

	// mu guards what follows and is held while a packet is queued, so that packets are queued in
	// the order of their offsets. Taken after a shard's lock is released, never inside it.
	mu        sync.Mutex
	user      bridge.UserID // empty: not mapped
	tag       string        // of the user's cursors
	token     string        // of the registration
	clientPID string        // of the user's session under the chosen id; see clientSessionID

	begun   bool          // the socket has begun: from and last are known
	since   time.Time     // when it began
	began   bridge.Offset // where its messages begin
	gave    bool          // it was given a message since then
	from    bridge.Offset // it was given every message of the user after from, up to last
	last    bridge.Offset // messages that are not after it are dropped
	acked   bridge.Offset // of the last message that its client has confirmed
	asked   bridge.Offset // horizon of the last answer that left nothing to give; no message need be there
	written bridge.Offset // the last message that is known to be written to the network

	// replaying: live messages are not given to the socket; a replay brings them from the
	// history. rerun: the history must be read once more, because a live message came since the
	// last batch was read. replayRunning: a goroutine runs the replay.
	replaying, rerun, replayRunning bool
	announce                        bool // the client has not been told any cursor yet

	dirtyList    *dirtySockets   // of the user's shard
	dirty        bool            // it is in dirtyList: the store does not know of last yet
	pending      *pendingCursors // of the hub
	cursorQueued bool            // it is in pending
}

// registration is the socket's entry in the registry.
func (s *socket) registration() bridge.Registration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bridge.Registration{User: s.user, Socket: bridge.SocketID(s.conn.ID()), Token: s.token}
}

// renewal is the renewal of the socket's registration; false while it has none or its first one is
// under way.
func (s *socket) renewal(now time.Time) (bridge.Renewal, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := bridge.Renewal{User: s.user, Socket: bridge.SocketID(s.conn.ID()), Token: s.token, Age: now.Sub(s.since)}
	return r, s.user != "" && s.begun
}

// bind maps the socket to a user, with the replay still to come.
func (s *socket) bind(user bridge.UserID, dirty *dirtySockets, pending *pendingCursors) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.user, s.tag, s.token = user, bridge.UserTag(user), rand.Text()
	s.from, s.last, s.acked, s.asked = bridge.Offset{}, bridge.Offset{}, bridge.Offset{}, bridge.Offset{}
	s.dirtyList, s.dirty = dirty, false
	s.pending, s.cursorQueued = pending, false
	s.clientPID, s.begun = clientSessionID(user, s.chosen), false
	s.replaying, s.rerun, s.replayRunning, s.announce = true, false, true, true
}

// unbind ends the mapping and returns the registration to remove and what the
// socket was given.
func (s *socket) unbind() (bridge.Registration, bridge.Delivered) {
	r := s.registration()
	s.mu.Lock()
	defer s.mu.Unlock()
	given := s.given()
	s.user, s.replaying, s.replayRunning = "", false, false
	return r, given
}

// startAt sets where the socket's messages begin: no message up to o is pushed. The user's messages
// after from and up to o were given to sockets of the user.
func (s *socket) startAt(from, o bridge.Offset) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.from, s.last, s.begun, s.since = from, o, true, time.Now()
	s.written, s.began, s.gave = o, o, false
}

// beginning is where the socket's messages begin, and whether it was given one since.
func (s *socket) beginning() (began bridge.Offset, gave bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.began, s.gave
}

// given is what the socket was given. With s.mu held.
func (s *socket) given() bridge.Delivered {
	return bridge.Delivered{User: s.user, From: s.from, To: s.last}
}

// deliveredTo is what the socket was given of a user's messages. It is false when the socket is
// mapped to another user by now.
func (s *socket) deliveredTo(user bridge.UserID) (given bridge.Delivered, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.given(), s.user == user
}

// cursor is the text of the socket's cursor.
func (s *socket) cursor() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cursorAt(s.last)
}

func (s *socket) lastGiven() bridge.Offset {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// lastConfirmed is the last message that the client has confirmed.
func (s *socket) lastConfirmed() bridge.Offset {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acked
}

// session is the session that the store keeps for the client.
func (s *socket) session() bridge.Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bridge.Session{User: s.user, Socket: bridge.SocketID(s.conn.ID())}
}
