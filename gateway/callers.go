package gateway

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"time"

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

// publishers lets those call who present an API key, or a token with the scope for
// it, and none of them too often. Where anybody may call, a page may only as the
// origins allow: a browser lets any page send a Blob without asking first.
type publishers struct {
	auth     AuthConfig
	pages    pages
	verdicts *verdicts
	pace     *pace
}

// denial is why a call is not served.
type denial struct {
	status        int
	code, message string
	wait          time.Duration // until it may be tried again; 0: nobody knows
}

// only comes before the body is read.
func (p *publishers) only(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		from := p.pace.client(c.Request())
		who, no := p.admit(c.Request(), from)
		if no == nil {
			no = p.pace.take(who, from, c.Request())
		}
		if no == nil {
			if who.key != "" {
				p.verdicts.keys[who.key].Add(1)
			}
			c.Set(callerKey, who)
			return next(c)
		}
		challenge(c, no.status, no.code)
		if no.wait > 0 {
			c.Response().Header().Set(echo.HeaderRetryAfter, strconv.Itoa(int((no.wait+time.Second-1)/time.Second)))
		}
		return refused(c, "", no.status, no.code, no.message)
	}
}

// admit decides about a call, and for whom it counts. Who is not believed counts by
// address, and is not looked at any more once that has tried too often: checking a
// signature costs more than making one up. API keys are always looked at: they
// cost little, and a good one must not suffer for its neighbours.
func (p *publishers) admit(r *http.Request, from netip.Addr) (caller, *denial) {
	if p.auth.open() {
		// A page cannot add a key without a preflight, which the origins decide about.
		if !p.pages.allow(r) && presentedKey(r) == "" {
			p.verdicts.refused(r.Context(), authPublish, codeForbiddenOrigin, "")
			return caller{}, &denial{status: http.StatusForbidden, code: codeForbiddenOrigin, message: "Pages of this origin may not send; see origins"}
		}
		return byAddress(from), nil
	}
	presented := presentedKey(r)
	if name := auth.FindAPIKey(p.auth.APIKeys, presented); presented != "" && name != "" {
		p.verdicts.ok(authPublish)
		return caller{key: name}, nil
	}
	if no := p.pace.spent(from); no != nil {
		return caller{}, no
	}
	who, no := p.admitStranger(r, presented, from)
	if no != nil {
		p.pace.rates.Allow(byAddress(from), time.Now()) // counted; what comes of it is for the next one
	}
	return who, no
}

// admitStranger decides about who has none of the keys.
func (p *publishers) admitStranger(r *http.Request, presented string, from netip.Addr) (caller, *denial) {
	if presented == "" {
		p.verdicts.refused(r.Context(), authPublish, codeUnauthorized, "")
		return caller{}, &denial{status: http.StatusUnauthorized, code: codeUnauthorized, message: "An API key or a token is required"}
	}
	if p.auth.Verifier == nil || r.Header.Get(HeaderAPIKey) != "" || !auth.LooksLikeToken(presented) {
		p.verdicts.refused(r.Context(), authPublish, codeInvalidKey, "")
		return caller{}, &denial{status: http.StatusUnauthorized, code: codeInvalidKey, message: "The API key is not known"}
	}
	claims, no := p.admitToken(r.Context(), presented)
	if no != nil {
		return caller{}, no
	}
	if claims.Subject == "" || len(claims.Subject) > maxSubject {
		return byAddress(from), nil
	}
	return caller{subject: claims.Subject}, nil
}

func (p *publishers) admitToken(ctx context.Context, token string) (auth.Claims, *denial) {
	claims, err := p.auth.Verifier.Verify(ctx, token)
	if refused := auth.Refusal(err); refused != nil {
		p.verdicts.refused(ctx, authPublish, refused.Code, refused.KeyID)
		status := http.StatusUnauthorized
		if refused.Code == auth.CodeUnavailable {
			status = http.StatusServiceUnavailable
		}
		return claims, &denial{status: status, code: refused.Code, message: refused.Message}
	}
	if !slices.Contains(claims.Scopes, p.auth.PublishScope) {
		p.verdicts.refused(ctx, authPublish, codeForbiddenScope, claims.KeyID)
		return claims, &denial{status: http.StatusForbidden, code: codeForbiddenScope, message: "The token lacks the scope to send messages"}
	}
	p.verdicts.ok(authPublish)
	return claims, nil
}

// challenge says how one gets in (RFC 6750, section 3).
func challenge(c echo.Context, status int, code string) {
	text := `Bearer realm="socketbridge"`
	switch {
	case status == http.StatusForbidden:
		text += `, error="insufficient_scope"`
	case status != http.StatusUnauthorized:
		return // it is not for want of a key
	case code != codeUnauthorized:
		text += `, error="invalid_token"`
	}
	c.Response().Header().Set(echo.HeaderWWWAuthenticate, text)
}
