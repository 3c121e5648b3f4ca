package gateway

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"sync"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/sio"
)

// conn is what the hub needs of a [sio.Socket]; the property test puts a
// recording one in its place.
type conn interface {
	ID() string
	PID() string
	// Push queues a packet and never waits, nor keeps it. An error means that the
	// connection is closed, or is being closed because it is slow.
	Push(*sio.Packet) error
	// Queue does the same for whoever has the server flush after it.
	Queue(*sio.Packet) error
	Emit(event string, args ...any) error
	// EmitWithAck queues an event that the page is to confirm. done is called once,
	// unless EmitWithAck returns an error.
	EmitWithAck(event string, timeout time.Duration, args []any, done sio.AckFunc) error
	// WaitDrained waits until less than that many bytes are queued.
	WaitDrained(ctx context.Context, below int) error
	// Pending is how many bytes are queued.
	Pending() int
	Close(reason string)
}

// socket is one socket of this node and what it has been given.
type socket struct {
	conn     conn
	cursors  cursorForm
	traces   bool      // its page is told of the trace of a message that is followed
	loopback bool      // it is this process itself, see [Hub.Loopback], and counts as nobody
	who      *identity // whom the page's token was made for; nil when tokens are not asked for

	// mu guards what follows and is held while a packet is queued, so that a
	// socket's packets are queued in the order of their offsets. Taken after a
	// shard's lock is released, never inside it.
	mu    sync.Mutex
	user  bridge.UserID // empty: not mapped
	tag   string        // of its user's cursors
	token string        // of its registration
	begun bool          // from and last are known: it is registered
	since time.Time     // when it was
	from  bridge.Offset // it was given every message of the user after from, up to last
	last  bridge.Offset // what is not after it is dropped
	acked bridge.Offset // of the last message that its client has confirmed
	asked bridge.Offset // horizon of the last answer that left nothing to give; no message need be there
	moved *moved        // of its user's shard
	noted bool          // it is in there: the store does not know of last yet
	// replaying: live messages wait in the history, from where a replay brings
	// them. again: one came since the last page was asked for, so read once more.
	// busy: somebody runs the replay.
	replaying, again, busy bool
	announce               bool // the client has not been told any cursor yet

	chosen    string        // id that the client has chosen for its sessions; read-only
	began     bridge.Offset // where its messages begin
	gave      bool          // it was given one since then
	written   bridge.Offset // the last message that is known to be written to the network
	clientPID string        // of the user's session under it; see clientSessionID

	pending *pendingCursors // of the hub
	untold  bool            // it is in there

	mapped  time.Time      // when the user was last told to the log; zero: it is not mapped
	claimed *bridge.Cursor // what the client presented when it connected, until used
}

// packets are the forms of one event: encoded when first needed, shared by all
// sockets it goes to. Used by one goroutine, in memory that is used again.
type packets struct {
	e                   *bridge.Envelope
	with, plain         sio.Packet // with the offset, and without
	madeWith, madePlain bool
}

var packetPool = sync.Pool{New: func() any { return new(packets) }}

// packetsOf begins with an envelope; release ends with it, when it was pushed.
func packetsOf(e *bridge.Envelope) *packets {
	p := packetPool.Get().(*packets)
	p.e, p.madeWith, p.madePlain = e, false, false
	return p
}

func (p *packets) release() {
	const most = 64 << 10 // a large one's memory must not stay for ever
	if p.with.Len()+p.plain.Len() > most {
		return
	}
	p.e = nil
	packetPool.Put(p)
}

func (p *packets) of(s *socket) *sio.Packet {
	if s.traces && p.e.Parent != "" {
		return followedPacket(p.e, s.argument(p.e.Offset))
	}
	if s.cursors == cursorArgument {
		if !p.madeWith {
			p.with.SetEvent(p.e.Topic, p.e.Payload, s.argument(p.e.Offset))
			p.madeWith = true
		}
		return &p.with
	}
	if !p.madePlain {
		p.plain.SetEvent(p.e.Topic, p.e.Payload, "")
		p.madePlain = true
	}
	return &p.plain
}

// push gives a live message to the socket, or leaves it to the replay in progress.
func (s *socket) push(p *packets) bridge.Count {
	return s.offer(p.e, func() error { return s.conn.Queue(p.of(s)) })
}

// pushAcked does the same with a message that the client is to confirm. done is
// called once when the socket was given it, with whether the client has confirmed. The
// last argument of such an event is the confirming function, so the cursor follows in an
// event of its own: confirmed or not, the message is not shown again after a resume, and
// it is when neither has arrived.
func (s *socket) pushAcked(e *bridge.Envelope, done func(confirmed bool)) (c bridge.Count, waits bool) {
	c = s.offer(e, func() error {
		waits = true
		err := s.conn.EmitWithAck(e.Topic, e.Ack, s.ackedArguments(e), func(_ []json.RawMessage, err error) {
			if err == nil {
				s.confirmed(e)
			}
			done(err == nil)
		})
		if err == nil {
			s.tellCursor(e.Offset)
		}
		return err
	})
	return c, waits && c.Took > 0
}

// offer decides whether a live message is to be given to the socket.
func (s *socket) offer(e *bridge.Envelope, give func() error) (c bridge.Count) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noteWritten()
	switch {
	case s.user != e.User: // it moved to another user a moment ago
	case s.replaying:
		s.again = true
		c.Took = 1
	case !e.Offset.After(s.last):
		c.Seen = 1
	case give() == nil:
		if e.Before.After(s.last) {
			s.from = e.Before // what is between was not given to this socket
		}
		s.last, s.gave = e.Offset, true
		s.note()
		s.tellLater()
		c.Took = 1
	}
	return c
}

// missed reports whether the message shows that the socket was not given the one
// before it, and then makes live messages wait for a replay. It happens when that
// one found nobody: the store had come back empty, or had written this node off,
// and the user's sockets were being registered again, another one before this.
func (s *socket) missed(e *bridge.Envelope) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.user != e.User || s.replaying || !e.Before.After(s.last) {
		return false
	}
	s.replaying, s.again = true, true
	return true
}

// caughtUp notes that the socket was given everything that the page's leader knew of the user.
// The socket goes on after the user's last message and not after the horizon, which is no
// message's: another leader may be behind it and bring what comes next. As with the other steps
// of a replay, token tells that the mapping is still the replay's.
func (s *socket) caughtUp(token string, page *bridge.Replay) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.replays(token) {
		return
	}
	s.asked = s.asked.Max(page.Horizon)
	if page.Last.After(s.last) {
		s.last = page.Last
		s.note()
	}
}

// gap reports whether the socket may have missed what a page shows to be no longer kept. A
// leader that has begun to read later knows nothing of what was before, but an answer of the one
// before it may have shown that nothing was there.
func (s *socket) gap(page *bridge.Replay) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return page.Gap && (page.Horizon.Epoch != s.asked.Epoch || page.Before.After(s.asked))
}

// confirmed notes that the client has this message and, as they come in order,
// every one before it.
func (s *socket) confirmed(e *bridge.Envelope) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.user == e.User {
		s.acked = s.acked.Max(e.Offset)
	}
}

// tellCursor tells a client that keeps cursors where it is, with the next [Hub.Flush].
// With s.mu held.
func (s *socket) tellCursor(at bridge.Offset) {
	if s.cursors != noCursor {
		_ = s.conn.Queue(sio.EventPacket(offsetEvent, []byte("{}"), s.cursorAt(at))) // a closed socket needs none
	}
}

// cursorAt is the text of the user's cursor at an offset. With s.mu held.
func (s *socket) cursorAt(o bridge.Offset) string {
	return bridge.Cursor{Offset: o, Tag: s.tag}.String()
}

// argument is the cursor that ends an event, and empty where none does. With s.mu held.
func (s *socket) argument(o bridge.Offset) string {
	if s.cursors != cursorArgument {
		return ""
	}
	return s.cursorAt(o)
}

// replays reports whether the mapping is the one that a replay began with. A socket that
// is mapped again, to the same user too, begins elsewhere: until that is known, what the
// earlier replay gives would count as evidence for all messages before it, and its end would
// let live messages overtake the new replay. With s.mu held.
func (s *socket) replays(token string) bool { return s.user != "" && s.token == token }

// give gives the socket a message of its history.
func (s *socket) give(e *bridge.Envelope, token string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.replays(token) {
		return errMoved
	}
	if !e.Offset.After(s.last) {
		return nil
	}
	s.noteWritten()
	p := packetsOf(e)
	defer p.release()
	if err := s.conn.Push(p.of(s)); err != nil {
		return err
	}
	s.last, s.announce, s.gave = e.Offset, false, true
	s.note()
	if s.cursors == cursorEvent {
		s.tellCursor(e.Offset) // at once: a long replay may be cut anywhere
	}
	return nil
}

// holdLive makes live messages wait for a replay that reads the history from now on.
func (s *socket) holdLive() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replaying, s.again = s.user != "", true
}

// claimReplay reports whether the socket waits for a replay that nobody runs,
// and makes the caller the one who does, for the mapping that it returns.
func (s *socket) claimReplay() (user bridge.UserID, token string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.replaying || s.busy {
		return "", "", false
	}
	s.busy = true
	return s.user, s.token, true
}

// dropReplay leaves the replay to somebody else, unless it was the one of an
// earlier mapping.
func (s *socket) dropReplay(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == token {
		s.busy = false
	}
}

// offsetEvent carries the offset at which a page begins. The stock client keeps
// it, listener or not, and so can resume before its user's first message: without
// it, a page that has received nothing would come back as a new one.
const offsetEvent = "bridge:offset"

// endReplay lets live messages through, unless one came since the last page was
// asked for or the socket was told to read again.
func (s *socket) endReplay(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.again || !s.replays(token) {
		return false
	}
	s.replaying, s.busy = false, false
	if s.announce {
		s.announce = false
		s.tellCursor(s.last)
	}
	return true
}

// nextPage says where the next page of the replay starts. It is false when the mapping
// is no longer the replay's.
func (s *socket) nextPage(token string) (after bridge.Offset, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.replays(token) {
		return after, false
	}
	s.again = false
	return s.last, true
}

// registration is the socket's entry in the registry.
func (s *socket) registration() bridge.Registration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bridge.Registration{User: s.user, Socket: bridge.SocketID(s.conn.ID()), Token: s.token}
}

// renewal is the registration of the socket as it is made sure of; false while it has none
// or its first one is under way.
func (s *socket) renewal(now time.Time) (bridge.Renewal, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := bridge.Renewal{User: s.user, Socket: bridge.SocketID(s.conn.ID()), Token: s.token, Age: now.Sub(s.since)}
	return r, s.user != "" && s.begun
}

// bind maps the socket to a user, with the replay still to come.
func (s *socket) bind(user bridge.UserID, m *moved, p *pendingCursors) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.user, s.tag, s.token = user, bridge.UserTag(user), rand.Text()
	s.from, s.last, s.acked, s.asked = bridge.Offset{}, bridge.Offset{}, bridge.Offset{}, bridge.Offset{}
	s.moved, s.noted = m, false
	s.pending, s.untold = p, false
	s.clientPID, s.begun = clientSessionID(user, s.chosen), false
	s.replaying, s.again, s.busy, s.announce = true, false, true, true
}

// unbind ends the mapping and returns the registration to remove and what the
// socket was given.
func (s *socket) unbind() (bridge.Registration, bridge.Delivered) {
	r := s.registration()
	s.mu.Lock()
	defer s.mu.Unlock()
	given := s.given()
	s.user, s.replaying, s.busy = "", false, false
	return r, given
}

// startAt sets where the socket's messages begin: nothing up to o is pushed. The user's
// messages after from and up to o were given to sockets of the user.
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

// deliveredTo is what the socket was given of a user's messages. It is false when the socket, which
// the user's list still has, is mapped to another user by now.
func (s *socket) deliveredTo(user bridge.UserID) (given bridge.Delivered, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.given(), s.user == user
}

// cursor is the text of the socket's cursor as an answer to its client has it.
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

// session is what the client is recognised by when it comes back.
func (s *socket) session() bridge.Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bridge.Session{User: s.user, Socket: bridge.SocketID(s.conn.ID())}
}
