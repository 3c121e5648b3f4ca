package gateway

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/auth"
	"github.com/codewar/socketbridge/gateway/sio"
)

// AuthConfig says who is believed.
type AuthConfig struct {
	// Verifier checks the tokens of pages and callers. Nil: every page is who it
	// says it is, and tokens are not looked at.
	Verifier *auth.Verifier
	Cookie   string // that may carry a page's token; empty: none
	// WarnBefore is how long before its token expires a page is told.
	WarnBefore time.Duration
	// ConnectsPerSecond is how often the pages of one user may connect to this node, and
	// ConnectBurst how often at once after a pause. 0: no limit. Needs a Verifier.
	ConnectsPerSecond, ConnectBurst int
	PublishScope                    string        // that a caller's token must have
	APIKeys                         []auth.APIKey // of callers; with neither these nor a Verifier anybody may call
	OpsKeys                         []auth.APIKey // of operators
}

// open reports whether anybody may send messages over HTTP.
func (a AuthConfig) open() bool { return a.Verifier == nil && len(a.APIKeys) == 0 }

// Codes of those who are believed and still may not.
const (
	codeForbiddenUser = "FORBIDDEN_USER" // another user than the token's
	codeExpired       = auth.CodeExpired
)

// identity is whom a page's token was made for. It is in the heap of [expiries]
// while the page is connected.
type identity struct {
	user bridge.UserID
	page expiring

	// Guarded by expiries.mu.
	expires time.Time
	due     time.Time // when there is something to do
	index   int       // in the heap; -1: not there
}

// Admit lets in whoever has a token that is believed, or everybody.
func (ev *events) Admit(ctx context.Context, c *sio.Socket) *sio.Refusal {
	if ev.auth.Verifier == nil {
		return nil
	}
	claims, user, err := ev.identify(ctx, authConnect, pageToken(c.Auth(), c.Header(), ev.auth.Cookie))
	if err != nil {
		return &sio.Refusal{Message: err.Message, Code: err.Code}
	}
	if _, ok := ev.connects.Allow(user, time.Now()); !ok {
		ev.refusals.Add(limitUserConnect, c.From(), slog.String("user", string(user)))
		return &sio.Refusal{Message: "Too many connects", Code: codeRateLimited, Later: true}
	}
	c.SetData(&identity{user: user, page: c, expires: claims.Expires, index: -1})
	return nil
}

// identify checks a page's token, and counts and logs what came of it.
func (ev *events) identify(ctx context.Context, of authKind, token string) (auth.Claims, bridge.UserID, *auth.RefusedError) {
	claims, err := ev.auth.Verifier.Verify(ctx, token)
	var user bridge.UserID
	if err == nil {
		user, err = claims.User()
	}
	if refused := auth.Refusal(err); refused != nil {
		ev.verdicts.refused(ctx, of, refused.Code, refused.KeyID)
		return auth.Claims{}, "", refused
	}
	ev.verdicts.ok(of)
	return claims, user, nil
}

// pageToken is what a page presents: `auth: {token}`, else a header `Authorization:
// Bearer`, else the cookie.
func pageToken(presented sio.Auth, h http.Header, cookie string) string {
	if presented.Token != "" {
		return presented.Token
	}
	if token := bearer(h); token != "" {
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

// bearer is the token of an Authorization header (RFC 6750), "" without one.
func bearer(h http.Header) string {
	scheme, token, _ := strings.Cut(h.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// mayName reports whether a page may speak of a user, and refuses it otherwise:
// only of the one that its token was made for.
func (ev *events) mayName(c *sio.Socket, s *socket, user bridge.UserID, ack func(...any), action string) bool {
	if s.who == nil || s.who.user == user {
		return true
	}
	ev.verdicts.refused(c.Context(), authConnect, codeForbiddenUser, "")
	ev.refuse(c, ack, "The token was made for another user", codeForbiddenUser, action)
	return false
}

// refreshToken lets a page stay beyond its token's end with a new one of the same
// user. A token that is not believed changes nothing: the old one holds until its end.
func (ev *events) refreshToken(c *sio.Socket, s *socket, args []json.RawMessage, ack func(...any)) {
	const action = "refreshToken"
	var token string
	if len(args) > 0 && json.Unmarshal(args[0], &token) != nil {
		token = "" // not a text: there is none
	}
	claims, user, err := ev.identify(c.Context(), authRefresh, token)
	if err != nil {
		ev.refuse(c, ack, err.Message, err.Code, action)
		return
	}
	if !ev.mayName(c, s, user, ack, action) {
		return
	}
	ev.expiries.set(s.who, claims.Expires)
	if ack != nil {
		ack(map[string]any{"ok": true, "expires": claims.Expires.UTC().Format(time.RFC3339)})
	}
}
