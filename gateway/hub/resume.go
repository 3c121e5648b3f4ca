package hub

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/sio"
)

// recovered is the result of a restored session.
type recovered struct {
	user  bridge.UserID
	after bridge.Offset
	who   *identity // as in [socket]
}

// claim is what a client says that it has: every message of its user up to an offset. It decides
// only what the client is sent: a claim is no evidence that a socket of the user was given
// anything. Without a claim, nil, the socket begins at the inbox.
type claim struct {
	after bridge.Offset
	// unknown: the cursor that the client presented does not tell its offset. The socket begins at
	// the inbox too, and the client is told that it may have missed messages.
	unknown bool
}

// Restore restores the session of a client that lost its connection to any node. It refuses, and
// `socket.recovered` stays false, when the session is unknown or of another user than the client's
// token, when the cursor is of another user or the stream has not reached it, or when the history
// no longer reaches back to it.
func (ev *Handler) Restore(ctx context.Context, c *sio.Socket, pid, offset string) (sio.Restored, bool) {
	who, _ := c.Data().(*identity)
	session, after, ok := ev.hub.restore(ctx, who, pid, offset)
	if !ok {
		return sio.Restored{}, false
	}
	return sio.Restored{ID: string(session.Socket), Data: &recovered{session.User, after, who}}, true
}

// restore finds the session of a client that presents its private id and cursor, and the offset
// where its messages continue.
func (h *Hub) restore(ctx context.Context, who *identity, pid, offset string) (session bridge.Session, after bridge.Offset, ok bool) {
	cursor, err := bridge.ParseCursor(offset)
	if err != nil {
		return session, after, false
	}
	session, err = h.store.Session(ctx, pid)
	switch {
	case errors.Is(err, bridge.ErrNoSession):
		return session, after, false
	case err != nil:
		h.log.LogAttrs(ctx, slog.LevelDebug, "session not read", slog.Any("err", err))
		return session, after, false
	case who != nil && who.user != session.User:
		return session, after, false
	case cursor.Tag != "" && cursor.Tag != bridge.UserTag(session.User): // a plain offset is one of an older version
		return session, after, false
	}
	return session, cursor.Offset, h.complete(ctx, session.User, cursor.Offset)
}

// leaderWait is how long a client that wants to be restored waits for a leader: somewhat longer
// than replacing one that hangs takes.
const leaderWait = 3 * time.Second

// complete reports whether everything that the user was sent after an offset is kept.
func (h *Hub) complete(ctx context.Context, user bridge.UserID, after bridge.Offset) bool {
	ctx, cancel := context.WithTimeout(ctx, leaderWait)
	defer cancel()
	var batch bridge.Replay
	err := h.retry(ctx, nil, func() (err error) {
		batch, err = h.history.Read(ctx, bridge.HistoryQuery{User: user, After: after, Peek: true})
		return err
	})
	if err != nil || batch.Gap {
		return false
	}
	if !after.After(batch.Horizon) || h.cfg.Stream == nil {
		return true
	}
	reached, err := h.cfg.Stream.Reaches(ctx, after)
	return err == nil && reached
}

// presented is the cursor that a client presents when it connects without a session that could be
// restored. nil: none. Its tag is empty when it cannot be read, or when it is a plain offset of an
// older version, which does not name its user.
func presented(auth sio.Auth) *bridge.Cursor {
	if auth.Offset == "" {
		return nil
	}
	cursor, err := bridge.ParseCursor(auth.Offset)
	if err != nil {
		return new(bridge.Cursor)
	}
	return &cursor
}

// claimOf is the claim for a user of the cursor that a client presented when it connected. After
// another user has logged in, the JavaScript client presents the cursor of the user before: that is
// no claim for this user.
func claimOf(c *bridge.Cursor, user bridge.UserID) *claim {
	switch {
	case c == nil || c.Tag != "" && c.Tag != bridge.UserTag(user):
		return nil
	case c.Tag == "":
		return &claim{after: c.Offset, unknown: true}
	}
	return &claim{after: c.Offset}
}

// beginsEarlier reports whether a socket that its token has mapped must be mapped again, because
// its client says by `{after}` that it lacks messages from before the socket's beginning. When the
// socket was given messages since then, earlier ones cannot be sent in order: the client is told a
// gap.
func (h *Hub) beginsEarlier(s *socket, c *claim) bool {
	if c == nil {
		return false
	}
	began, gave := s.beginning()
	if !c.unknown && !began.After(c.after) {
		return false
	}
	if gave || c.unknown {
		h.sendGap(s, c.after)
		h.Flush()
		return false
	}
	return true
}

// explicitClaim is the claim of `{after}` for the user that is named beside it. A plain offset is
// of that user. A cursor of another user cannot be applied.
func explicitClaim(c *bridge.Cursor, user bridge.UserID) *claim {
	if c == nil {
		return nil
	}
	return &claim{after: c.Offset, unknown: c.Tag != "" && c.Tag != bridge.UserTag(user)}
}
