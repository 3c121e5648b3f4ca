package hub

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"log/slog"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// A client whose library keeps no cursor may choose an id once and present it with each connect,
// as `auth: {session: id}`. The store then keeps the offset that its sockets were given, as a
// session of the user, bounded and dropped like the others. Messages that were written to the
// network count as given, because their arrival is not known.

// maxClientSession is the longest id, in bytes. Longer ones are ignored.
const maxClientSession = 128

// clientSessionID is the private id of the session in the store: one for each user, so that an id
// reveals nothing about another user. It never equals an id that the server has given out.
func clientSessionID(user bridge.UserID, chosen string) string {
	if chosen == "" || len(chosen) > maxClientSession {
		return ""
	}
	sum := sha256.Sum256([]byte(string(user) + "\x00" + chosen))
	return "client." + base64.RawURLEncoding.EncodeToString(sum[:18])
}

// continued is the claim of a client with an id of its own, and nil when it is not known. An error
// comes from the store.
func (h *Hub) continued(ctx context.Context, pid string, user bridge.UserID) (*claim, error) {
	for _, s := range h.of(user) { // its last connection here, which may not be closed yet
		if of, session := s.progressSession(); of == pid {
			return &claim{after: session.Given}, nil
		}
	}
	session, err := h.store.Session(ctx, pid)
	switch {
	case errors.Is(err, bridge.ErrNoSession):
		return nil, nil
	case err != nil:
		return nil, err
	case session.User != user:
		return nil, nil
	}
	return &claim{after: session.Given}, nil
}

// progressSession is the session in which the store keeps the offset that the socket was given, and
// its id. The id is empty when the client has not chosen one.
func (s *socket) progressSession() (pid string, session bridge.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.user == "" || !s.begun || s.clientPID == "" {
		return "", session
	}
	s.recordWritten()
	return s.clientPID, bridge.Session{User: s.user, Given: s.written}
}

// recordWritten records that everything the socket was given is written, if it is. It is called
// before the socket is given more. With s.mu held.
func (s *socket) recordWritten() {
	if s.clientPID != "" && s.conn.Pending() == 0 {
		s.written = s.last
	}
}

// saveProgress saves such sessions, but never an earlier offset: a connection that the client has
// left and that is not closed yet has a smaller one than the client's next connection. When it
// fails, the client misses what another socket of its user is given meanwhile.
func (h *Hub) saveProgress(ctx context.Context, sessions map[string]bridge.Session) {
	for pid, session := range sessions {
		if kept, err := h.store.Session(ctx, pid); err == nil && kept.User == session.User && kept.Given.After(session.Given) {
			delete(sessions, pid)
		}
	}
	if len(sessions) == 0 {
		return
	}
	if err := h.store.SaveSessions(ctx, sessions); err != nil {
		h.log.LogAttrs(ctx, slog.LevelDebug, "progress not saved", slog.Any("err", err))
	}
}

// saveProgressOf saves the session of one socket.
func (h *Hub) saveProgressOf(s *socket) {
	if pid, session := s.progressSession(); pid != "" {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		h.saveProgress(ctx, map[string]bridge.Session{pid: session})
	}
}
