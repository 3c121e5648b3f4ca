package hub

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/apierror"
	"github.com/codewar/socketbridge/gateway/auth"
	"github.com/codewar/socketbridge/gateway/sio"
)

// identity is the user that a client's token was made for.
type identity struct {
	user   bridge.UserID
	client expiring

	// Guarded by expiries.mu.
	expires time.Time
	due     time.Time   // when the client is warned or closed
	timer   *time.Timer // of due; nil: not set
}

// Admit accepts clients with a valid token, and without a Verifier all clients.
func (ev *Handler) Admit(ctx context.Context, c *sio.Socket) *sio.Refusal {
	if ev.cfg.Verifier == nil {
		return nil
	}
	claims, user, err := ev.identify(ctx, auth.Connect, clientToken(c.Auth(), c.Header(), ev.cfg.Cookie))
	if err != nil {
		return &sio.Refusal{Message: err.Message, Code: err.Code}
	}
	if _, ok := ev.connects.Allow(user, time.Now()); !ok {
		ev.refusals.Add(limitUserConnect, c.From(), slog.String("user", string(user)))
		return &sio.Refusal{Message: "Too many connects", Code: apierror.RateLimited, Later: true}
	}
	c.SetData(&identity{user: user, client: c, expires: claims.Expires})
	return nil
}

// identify verifies a client's token, and counts the result.
func (ev *Handler) identify(ctx context.Context, of auth.Kind, token string) (auth.Claims, bridge.UserID, *auth.RefusedError) {
	claims, err := ev.cfg.Verifier.Verify(ctx, token)
	var user bridge.UserID
	if err == nil {
		user, err = claims.User()
	}
	if refused := auth.Refusal(err); refused != nil {
		ev.auth.Refused(ctx, of, refused.Code, refused.KeyID)
		return auth.Claims{}, "", refused
	}
	ev.auth.Accepted(of)
	return claims, user, nil
}

// clientToken is the token that a client presents: `auth: {token}`, else a header
// `Authorization: Bearer`, else the cookie.
func clientToken(presented sio.Auth, h http.Header, cookie string) string {
	if presented.Token != "" {
		return presented.Token
	}
	if token := auth.Bearer(h); token != "" {
		return token
	}
	if cookie == "" {
		return ""
	}
	c, err := (&http.Request{Header: h}).Cookie(cookie)
	if err != nil {
		return ""
	}
	return c.Value
}

// checkUser reports whether a client may name a user, and refuses it otherwise. With a token it
// may name only the token's user.
func (ev *Handler) checkUser(c *sio.Socket, s *socket, user bridge.UserID, ack func(...any), action string) bool {
	if s.who == nil || s.who.user == user {
		return true
	}
	ev.auth.Refused(c.Context(), auth.Connect, auth.CodeForbiddenUser, "")
	ev.refuse(c, ack, "The token was made for another user", auth.CodeForbiddenUser, action)
	return false
}

// refreshToken lets a client stay beyond its token's end with a new token of the same user. An
// invalid token changes nothing: the old one is valid until its end.
func (ev *Handler) refreshToken(c *sio.Socket, s *socket, args []json.RawMessage, ack func(...any)) {
	const action = "refreshToken"
	var token string
	if len(args) > 0 && json.Unmarshal(args[0], &token) != nil {
		token = "" // not a string
	}
	claims, user, err := ev.identify(c.Context(), auth.Refresh, token)
	if err != nil {
		ev.refuse(c, ack, err.Message, err.Code, action)
		return
	}
	if !ev.checkUser(c, s, user, ack, action) {
		return
	}
	ev.expiries.set(s.who, claims.Expires)
	if ack != nil {
		ack(map[string]any{"ok": true, "expires": claims.Expires.UTC().Format(time.RFC3339)})
	}
}
