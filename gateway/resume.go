package gateway

import (
	"context"
	"errors"
	"log/slog"
	"strings"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/sio"
)

// recovered is what a returning page is recognised by.
type recovered struct {
	user  bridge.UserID
	after bridge.Offset
	who   *identity // as in [socket]
}

// Restore recognises a page that lost its connection, on whichever node it was.
// It is refused, and `socket.recovered` stays false, when the session is unknown or
// another user's than the page's token, or the history no longer reaches back to
// the page's offset.
func (ev *events) Restore(ctx context.Context, c *sio.Socket, pid, offset string) (sio.Restored, bool) {
	after, err := bridge.ParseOffset(offset)
	if err != nil {
		return sio.Restored{}, false
	}
	session, err := ev.hub.store.Session(ctx, pid)
	if err != nil {
		if !errors.Is(err, bridge.ErrNoSession) {
			ev.log.LogAttrs(ctx, slog.LevelDebug, "session not read", slog.Any("err", err))
		}
		return sio.Restored{}, false
	}
	who, _ := c.Data().(*identity)
	if who != nil && who.user != session.User {
		return sio.Restored{}, false
	}
	after = after.Max(session.Acked)
	page, err := ev.hub.store.Read(ctx, session.User, after, 1)
	if err != nil || page.Gap {
		return sio.Restored{}, false
	}
	return sio.Restored{ID: string(session.Socket), Data: &recovered{session.User, after, who}}, true
}

// claimedOffset is the offset that a page presents whose session is gone: its
// messages after that are still owed to it, once it says who it is.
func claimedOffset(presented sio.Auth) *bridge.Offset {
	after, err := bridge.ParseOffset(presented.Offset)
	if err != nil {
		return nil
	}
	return &after
}

// wantsOffset decides who is given the offset as an event's last argument. A page
// may say so itself with `auth: {resume: true}` or `{resume: false}`. Unasked, the
// JavaScript clients get it: they keep it for connection state recovery and call
// handlers that take fewer arguments all the same. Others do not: python-socketio
// raises when a handler is called with one argument more. The JavaScript client is
// known by the order of its query, `EIO=4&transport=…`, which engine.io-client
// makes in Socket.createTransport; python-engineio writes them the other way.
func wantsOffset(c *sio.Socket) bool {
	auth := c.Auth()
	if auth.Resume != nil {
		return *auth.Resume
	}
	if auth.PID != "" {
		return true
	}
	return strings.Contains(c.RawQuery(), "EIO=4&transport=")
}
