package auth

import (
	"net/http"
	"strings"
)

// HeaderAPIKey carries an API key instead of Authorization.
const HeaderAPIKey = "X-API-Key" // #nosec G101 -- a header's name

// Bearer is the token of an Authorization header (RFC 6750), "" without one.
func Bearer(h http.Header) string {
	scheme, token, _ := strings.Cut(h.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// PresentedKey is the API key or token that a request presents, "" for none.
func PresentedKey(h http.Header) string {
	if key := h.Get(HeaderAPIKey); key != "" {
		return key
	}
	return Bearer(h)
}

// Challenge sets the WWW-Authenticate header of a refusal (RFC 6750, section 3). It is for
// refusals with status 401 and 403; others are not for want of credentials.
func Challenge(h http.Header, status int, code string) {
	text := `Bearer realm="socketbridge"`
	switch {
	case status == http.StatusForbidden:
		text += `, error="insufficient_scope"`
	case status != http.StatusUnauthorized:
		return
	case code != CodeUnauthorized:
		text += `, error="invalid_token"`
	}
	h.Set("WWW-Authenticate", text)
}
