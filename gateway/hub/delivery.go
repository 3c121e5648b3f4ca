package hub

import (
	"encoding/json"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/sio"
)

// push gives a live message to the socket, or leaves it to the replay in progress. See
// [socket.deliverLive] for chained and missed.
func (s *socket) push(p *packets, chained bool) (c bridge.Count, missed bool) {
	return s.deliverLive(p.e, chained, func() error { return s.conn.Queue(p.of(s)) })
}

// pushAcked does the same with a message that the client is to confirm. done is called once,
// with whether the client has confirmed, when waits is true. The last argument of such an event
// is the confirming function, so the cursor follows in an event of its own: after a resume the
// client is shown the message again only when neither event has arrived.
func (s *socket) pushAcked(e *bridge.Envelope, chained bool, done func(confirmed bool)) (c bridge.Count, missed, waits bool) {
	c, missed = s.deliverLive(e, chained, func() error {
		waits = true
		err := s.conn.EmitWithAck(e.Topic, e.Ack, s.ackedArguments(e), func(_ []json.RawMessage, err error) {
			if err == nil {
				s.confirmed(e)
			}
			done(err == nil)
		})
		if err == nil {
			s.sendCursor(e.Offset)
		}
		return err
	})
	return c, missed, waits && c.Took > 0
}

// deliverLive calls queue, which queues a live message, unless the socket is in a replay or has
// the message. Where messages are chained, it compares the message before this one: missed
// reports that the socket was not given that one, and live messages then wait for a replay.
// That happens when the earlier message was routed while the user's sockets were not
// registered, because the store had lost them or had written this node off.
func (s *socket) deliverLive(e *bridge.Envelope, chained bool, queue func() error) (c bridge.Count, missed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recordWritten()
	if s.user != e.User {
		return c, false // it moved to another user a moment ago
	}
	if chained && !s.replaying && e.Before.After(s.last) {
		s.replaying, missed = true, true
	}
	switch {
	case s.replaying:
		s.rerun = true
		c.Took = 1
	case !e.Offset.After(s.last):
		c.Seen = 1
	case queue() == nil:
		if e.Before.After(s.last) {
			s.from = e.Before // the messages between were not given to this socket
		}
		s.last, s.gave = e.Offset, true
		s.markDirty()
		s.queueCursor()
		c.Took = 1
	}
	return c, missed
}

// endOfHistory records that the socket was given everything that the batch's leader knew of the
// user. The socket goes on after the user's last message and not after the horizon, which may be
// ahead of another leader's next message. As in the other steps of a replay, token identifies the
// mapping that the replay is for.
func (s *socket) endOfHistory(token string, batch *bridge.Replay) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.replays(token) {
		return
	}
	s.asked = s.asked.Max(batch.Horizon)
	if batch.Last.After(s.last) {
		s.last = batch.Last
		s.markDirty()
	}
}

// gap reports whether the socket may have missed messages that a batch shows to be no longer
// kept. A leader that began to read later does not know earlier messages, but an answer of the
// leader before it may have shown that there were none.
func (s *socket) gap(batch *bridge.Replay) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return batch.Gap && (batch.Horizon.Epoch != s.asked.Epoch || batch.Before.After(s.asked))
}

// confirmed records that the client has this message and, as they come in order, every message
// before it.
func (s *socket) confirmed(e *bridge.Envelope) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.user == e.User {
		s.acked = s.acked.Max(e.Offset)
	}
}

// sendCursor tells a client that keeps cursors where it is, with the next [Hub.Flush].
// With s.mu held.
func (s *socket) sendCursor(at bridge.Offset) {
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

// replays reports whether the mapping is the one that a replay began with. A socket that is
// mapped again, also to the same user, begins elsewhere. Messages of the earlier replay would
// then count as evidence for all messages before them, and its end would let live messages
// overtake the new replay. With s.mu held.
func (s *socket) replays(token string) bool { return s.user != "" && s.token == token }

// deliverReplay gives the socket a message of its history.
func (s *socket) deliverReplay(e *bridge.Envelope, token string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.replays(token) {
		return errUnmapped
	}
	if !e.Offset.After(s.last) {
		return nil
	}
	s.recordWritten()
	p := packetsOf(e)
	defer p.release()
	if err := s.conn.Push(p.of(s)); err != nil {
		return err
	}
	s.last, s.announce, s.gave = e.Offset, false, true
	s.markDirty()
	if s.cursors == cursorEvent {
		s.sendCursor(e.Offset) // at once: a long replay may be cut anywhere
	}
	return nil
}

// pauseLive makes live messages wait for a replay that reads the history from now on.
func (s *socket) pauseLive() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replaying, s.rerun = s.user != "", true
}

// claimReplay reports whether the socket waits for a replay that no goroutine runs. The caller
// then runs it, for the mapping that claimReplay returns.
func (s *socket) claimReplay() (user bridge.UserID, token string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.replaying || s.replayRunning {
		return "", "", false
	}
	s.replayRunning = true
	return s.user, s.token, true
}

// dropReplay leaves the replay to another goroutine, unless it was the replay of an earlier
// mapping.
func (s *socket) dropReplay(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == token {
		s.replayRunning = false
	}
}

// offsetEvent carries the offset at which a client begins. The stock client keeps it, with or
// without a listener, and so can resume before its user's first message: without it, a client
// that has received nothing would come back as a new one.
const offsetEvent = "bridge:offset"

// endReplay lets live messages through, unless the history must be read once more.
func (s *socket) endReplay(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rerun || !s.replays(token) {
		return false
	}
	s.replaying, s.replayRunning = false, false
	if s.announce {
		s.announce = false
		s.sendCursor(s.last)
	}
	return true
}

// nextBatch says where the next batch of the replay starts. It is false when the mapping is no longer
// the replay's.
func (s *socket) nextBatch(token string) (after bridge.Offset, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.replays(token) {
		return after, false
	}
	s.rerun = false
	return s.last, true
}
