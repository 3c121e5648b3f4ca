package gateway

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"

	"github.com/labstack/echo/v4"

	"github.com/codewar/socketbridge/gateway/auth"
)

// Codes for requests that a page in an operator's browser may have made without
// the operator's wish.
const (
	codeForbiddenOrigin = "FORBIDDEN_ORIGIN" // made by a page of another origin
	codeForbiddenHost   = "FORBIDDEN_HOST"   // from this machine, under a name that is not this machine's
)

// operators guards what tells of users and of the inside: it is for callers on
// this machine, for those with a key and, where it has a listener of its own and
// no keys, for everybody who reaches that.
//
// All but a key in a header is lent by a browser to any page that it shows: being
// on this machine, reaching the listener, and a key that was typed into the
// browser's own form. So whoever comes without one in a header must not have been
// sent by a foreign page (CSRF), nor by a foreign name that was made to mean this
// machine (DNS rebinding).
type operators struct {
	keys        []auth.APIKey
	ownListener bool
	verdicts    *verdicts
}

// only serves operators.
func (o *operators) only(next echo.HandlerFunc) echo.HandlerFunc { return o.guard(next, false) }

// page does the same for what a browser shows. A link from elsewhere may lead
// there: it changes nothing, and whoever made it cannot see it.
func (o *operators) page(next echo.HandlerFunc) echo.HandlerFunc { return o.guard(next, true) }

func (o *operators) guard(next echo.HandlerFunc, page bool) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		status, code, message := o.admit(r, page)
		switch {
		case code == "":
			return next(c)
		case status == http.StatusNotFound:
			return echo.ErrNotFound
		}
		o.verdicts.refused(r.Context(), authOperator, code, "")
		if status == http.StatusUnauthorized {
			challenge(c, status, code)
			if page { // so that the browser asks for the key
				c.Response().Header().Set(echo.HeaderWWWAuthenticate, `Basic realm="socketbridge operators: any name, the key as password", charset="UTF-8"`)
			}
		}
		return c.JSON(status, newErrorBody(message, code, map[string]any{"action": "operate"}))
	}
}

// admit decides about a request; code is empty when it is let in.
func (o *operators) admit(r *http.Request, page bool) (status int, code, message string) {
	presented := presentedKey(r)
	if presented != "" && auth.FindAPIKey(o.keys, presented) != "" {
		o.verdicts.ok(authOperator)
		return 0, "", "" // no browser adds that by itself
	}
	here := fromHere(r)
	_, typed, _ := r.BasicAuth()
	known := typed != "" && auth.FindAPIKey(o.keys, typed) != ""
	switch {
	case here, known, o.ownListener && len(o.keys) == 0:
	case len(o.keys) == 0:
		return http.StatusNotFound, codeNotFound, "" // to others it does not exist
	case presented == "" && typed == "":
		return http.StatusUnauthorized, codeUnauthorized, "An operators' key is required"
	default:
		return http.StatusUnauthorized, codeInvalidKey, "The operators' key is not known"
	}
	if fromForeignPage(r, page) {
		return http.StatusForbidden, codeForbiddenOrigin, "Pages of other origins may not do this"
	}
	if here && !known && !isOwnName(r.Host) {
		return http.StatusForbidden, codeForbiddenHost, "Callers on this machine are let in under its own name only, such as localhost; others need an operators' key"
	}
	if known {
		o.verdicts.ok(authOperator)
	}
	return 0, "", ""
}

// fromHere reports whether a request comes from this machine itself. A proxy on
// this machine adds X-Forwarded-For, and so is not taken for its clients.
func fromHere(r *http.Request) bool {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && from.Addr().Unmap().IsLoopback() && r.Header.Get("X-Forwarded-For") == "" && r.Header.Get("Forwarded") == ""
}

// fromForeignPage reports whether a browser made the request for a page of another
// origin. Programs that are no browsers send neither header. A page may be led to
// by a link from anywhere.
func fromForeignPage(r *http.Request, page bool) bool {
	if origins := r.Header.Values("Origin"); len(origins) > 0 {
		from, err := url.Parse(origins[0])
		if len(origins) > 1 || err != nil || from.Host == "" || !strings.EqualFold(from.Host, r.Host) {
			return true // "null" too
		}
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none": // none: typed, or a bookmark
		return false
	}
	link := r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
	return !page || !link
}

var hostname = sync.OnceValue(func() string {
	name, _ := os.Hostname() // without one, only the loopback's names are ours
	return name
})

// isOwnName reports whether a Host header names this machine in a way that nobody
// else's name server decides about.
func isOwnName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if addr, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return addr.Unmap().IsLoopback()
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || host != "" && host == strings.ToLower(hostname())
}
