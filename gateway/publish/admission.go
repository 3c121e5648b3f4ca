package publish

import (
	"context"
	"net/http"
	"net/netip"
	"slices"

	"github.com/codewar/socketbridge/gateway/auth"
)

// admission decides before the body is read whether a call is served: the caller presents an API
// key, or a token with the scope, and does not exceed its limits.
type admission struct {
	cfg     Config
	metrics *auth.Metrics
	limits  callerLimits
}

// admit decides about a call and identifies its caller.
func (a *admission) admit(r *http.Request) (caller, *rejection) {
	from := a.cfg.ClientAddr(r)
	who, rejected := a.authenticate(r, from)
	if rejected == nil {
		rejected = a.limits.take(who, from, r)
	}
	if rejected == nil && who.key != "" {
		a.metrics.CountKey(who.key)
	}
	return who, rejected
}

// authenticate identifies the caller. A refused call counts for the address, and an address with
// too many calls is refused before its token is verified: verifying a signature costs more than
// inventing one. API keys are always checked: that is cheap, and a valid key must not suffer
// from its neighbours.
func (a *admission) authenticate(r *http.Request, from netip.Addr) (caller, *rejection) {
	if a.cfg.Verifier == nil && len(a.cfg.APIKeys) == 0 {
		// A browser lets every page send a Blob without a preflight. With a key in a header
		// there was a preflight, which the origins decide about.
		if !a.cfg.AllowPage(r) && auth.PresentedKey(r.Header) == "" {
			return caller{}, a.refuse(r.Context(), http.StatusForbidden, auth.CodeForbiddenOrigin, "", "Pages of this origin may not send; see origins")
		}
		return byAddress(from), nil
	}
	presented := auth.PresentedKey(r.Header)
	if name := auth.FindAPIKey(a.cfg.APIKeys, presented); presented != "" && name != "" {
		a.metrics.Accepted(auth.Publish)
		return caller{key: name}, nil
	}
	if rejected := a.limits.exhausted(from); rejected != nil {
		return caller{}, rejected
	}
	who, rejected := a.verify(r, presented, from)
	if rejected != nil {
		a.limits.count(byAddress(from))
	}
	return who, rejected
}

// verify identifies a caller that presents none of the API keys by its token.
func (a *admission) verify(r *http.Request, presented string, from netip.Addr) (caller, *rejection) {
	ctx := r.Context()
	if presented == "" {
		return caller{}, a.refuse(ctx, http.StatusUnauthorized, auth.CodeUnauthorized, "", "An API key or a token is required")
	}
	if a.cfg.Verifier == nil || r.Header.Get(auth.HeaderAPIKey) != "" || !auth.LooksLikeToken(presented) {
		return caller{}, a.refuse(ctx, http.StatusUnauthorized, auth.CodeInvalidKey, "", "The API key is not known")
	}
	claims, err := a.cfg.Verifier.Verify(ctx, presented)
	if refused := auth.Refusal(err); refused != nil {
		status := http.StatusUnauthorized
		if refused.Code == auth.CodeUnavailable {
			status = http.StatusServiceUnavailable
		}
		return caller{}, a.refuse(ctx, status, refused.Code, refused.KeyID, refused.Message)
	}
	if !slices.Contains(claims.Scopes, a.cfg.Scope) {
		return caller{}, a.refuse(ctx, http.StatusForbidden, auth.CodeForbiddenScope, claims.KeyID, "The token lacks the scope to send messages")
	}
	a.metrics.Accepted(auth.Publish)
	if claims.Subject == "" || len(claims.Subject) > maxSubject {
		return byAddress(from), nil
	}
	return caller{subject: claims.Subject}, nil
}

// refuse counts a refusal. keyID names the key that was presented.
func (a *admission) refuse(ctx context.Context, status int, code, keyID, message string) *rejection {
	a.metrics.Refused(ctx, auth.Publish, code, keyID)
	return &rejection{status: status, code: code, message: message}
}
