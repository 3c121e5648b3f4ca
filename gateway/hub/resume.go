package hub

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/sio"
)

// recovered is what a returning client is recognised by.
type recovered struct {
	user  bridge.UserID
	after bridge.Offset
	who   *identity // as in [socket]
}

// claim is what a client says that it has: every message of its user up to an offset.
// It decides what the client is sent, and nothing else: a claim is no evidence that a
// socket of the user was given anything. No claim, a nil one, begins at the inbox.
type claim struct {
	after bridge.Offset
	// unknown: what the client has presented does not say where it is. It begins at the
	// inbox too, and is told that it may have missed something.
	unknown bool
}

// Restore recognises a client that lost its connection, on whichever node it was.
// It is refused, and `socket.recovered` stays false, when the session is unknown or
// another user's than the client's token, when the cursor is another user's or one that
// the stream has not reached, or when the history no longer reaches back to it.
func (ev *Handler) Restore(ctx context.Context, c *sio.Socket, pid, offset string) (sio.Restored, bool) {
	who, _ := c.Data().(*identity)
	session, after, ok := ev.hub.restore(ctx, who, pid, offset)
	if !ok {
		return sio.Restored{}, false
	}
	return sio.Restored{ID: string(session.Socket), Data: &recovered{session.User, after, who}}, true
}

// restore finds the session of a client that presents its private id and cursor, and
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

// leaderWait is how long a client that wants to be recovered waits for a leader: somewhat longer
// than one that hangs is replaced in.
const leaderWait = 3 * time.Second

// complete reports whether everything that the user was sent after an offset is kept.
func (h *Hub) complete(ctx context.Context, user bridge.UserID, after bridge.Offset) bool {
	ctx, cancel := context.WithTimeout(ctx, leaderWait)
	defer cancel()
	var page bridge.Replay
	err := h.retry(ctx, nil, func() (err error) {
		page, err = h.history.Read(ctx, bridge.HistoryQuery{User: user, After: after, Peek: true})
		return err
	})
	if err != nil || page.Gap {
		return false
	}
	if !after.After(page.Horizon) || h.cfg.Stream == nil {
		return true
	}
	reached, err := h.cfg.Stream.Reaches(ctx, after)
	return err == nil && reached
}

// presented is the cursor that a client presents as it connects, without a session
// that could be restored. nil: none; its tag is empty when it cannot be read, or when it is
// a plain offset of an older version, which does not say whose it is.
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

// claimOf is what the cursor that a client presented as it connected says of a user.
// The JavaScript client presents that of the user before, after another has logged in:
// that one says nothing of this user.
func claimOf(c *bridge.Cursor, user bridge.UserID) *claim {
	switch {
	case c == nil || c.Tag != "" && c.Tag != bridge.UserTag(user):
		return nil
	case c.Tag == "":
		return &claim{after: c.Offset, unknown: true}
	}
	return &claim{after: c.Offset}
}

// beginsEarlier reports whether a socket that its token has mapped already must be mapped
// again, because its client says, by `{after}`, that it lacks messages from before where the
// socket began. When the socket was given some since then, those cannot come before
// them any more: the client is told.
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

// explicitClaim is what `{after}` says of the user who is named beside it. A plain
// offset is of that user then. A cursor of another user cannot be applied.
func explicitClaim(c *bridge.Cursor, user bridge.UserID) *claim {
	if c == nil {
		return nil
	}
	return &claim{after: c.Offset, unknown: c.Tag != "" && c.Tag != bridge.UserTag(user)}
}
