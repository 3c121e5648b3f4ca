package gateway

import (
	"context"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"github.com/codewar/socketbridge/gateway/auth"
)

// Codes for callers over HTTP who are not let in, beside those of tokens.
const (
	codeUnauthorized   = "UNAUTHORIZED"    // presents nothing
	codeInvalidKey     = "INVALID_API_KEY" // presents what is neither a key nor a token
	codeForbiddenScope = "FORBIDDEN_SCOPE" // a token that is good, but not for this
)

// HeaderAPIKey is where a caller may present its key instead of in Authorization.
const HeaderAPIKey = "X-API-Key" // #nosec G101 -- a header's name

// presentedKey is the key that a caller presents, "" for none.
func presentedKey(r *http.Request) string {
	if key := r.Header.Get(HeaderAPIKey); key != "" {
		return key
	}
	return bearer(r.Header)
}

// publishers lets those call who present an API key, or a token with the scope for it.
type publishers struct {
	auth     AuthConfig
	verdicts *verdicts
}

func (p *publishers) only(next echo.HandlerFunc) echo.HandlerFunc {
	if p.auth.open() {
		return next
	}
	return func(c echo.Context) error {
		status, code, message := p.admit(c.Request())
		if code == "" {
			return next(c)
		}
		challenge(c, status, code)
		return refused(c, "", status, code, message)
	}
}

// admit decides about a call; code is empty when it is let in.
func (p *publishers) admit(r *http.Request) (status int, code, message string) {
	presented := presentedKey(r)
	if presented == "" {
		p.verdicts.refused(r.Context(), authPublish, codeUnauthorized, "")
		return http.StatusUnauthorized, codeUnauthorized, "An API key or a token is required"
	}
	if name := auth.FindAPIKey(p.auth.APIKeys, presented); name != "" {
		p.verdicts.ok(authPublish)
		p.verdicts.keys[name].Add(1)
		return 0, "", ""
	}
	if p.auth.Verifier == nil || r.Header.Get(HeaderAPIKey) != "" || !auth.LooksLikeToken(presented) {
		p.verdicts.refused(r.Context(), authPublish, codeInvalidKey, "")
		return http.StatusUnauthorized, codeInvalidKey, "The API key is not known"
	}
	return p.admitToken(r.Context(), presented)
}

func (p *publishers) admitToken(ctx context.Context, token string) (status int, code, message string) {
	claims, err := p.auth.Verifier.Verify(ctx, token)
	if refused := auth.Refusal(err); refused != nil {
		p.verdicts.refused(ctx, authPublish, refused.Code, refused.KeyID)
		if refused.Code == auth.CodeUnavailable {
			return http.StatusServiceUnavailable, refused.Code, refused.Message
		}
		return http.StatusUnauthorized, refused.Code, refused.Message
	}
	if !slices.Contains(claims.Scopes, p.auth.PublishScope) {
		p.verdicts.refused(ctx, authPublish, codeForbiddenScope, claims.KeyID)
		return http.StatusForbidden, codeForbiddenScope, "The token lacks the scope to send messages"
	}
	p.verdicts.ok(authPublish)
	return 0, "", ""
}

// challenge says how one gets in (RFC 6750, section 3).
func challenge(c echo.Context, status int, code string) {
	text := `Bearer realm="socketbridge"`
	switch {
	case status == http.StatusForbidden:
		text += `, error="insufficient_scope"`
	case code != codeUnauthorized:
		text += `, error="invalid_token"`
	}
	if status != http.StatusServiceUnavailable {
		c.Response().Header().Set(echo.HeaderWWWAuthenticate, text)
	}
}
