package gateway

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/codewar/socketbridge/gateway/apierror"
	"github.com/codewar/socketbridge/gateway/auth"
)

// operators guards the routes that show users and the state of the process. A
// request is served
//
//   - with one of the keys, wherever keys are configured: then nothing else is enough;
//   - without keys on a listener of their own: from every client of that listener;
//   - without keys on the public listener: from this machine (see [fromHere]). NewServer
//     puts the routes there only in a plain development start.
//
// A browser gives every page its place on this machine, its access to the listener, and a key that
// was typed into the browser's own form; only a key in a header must be added by the page. So
// requests without a key in a header are also checked for foreign pages (CSRF) and for foreign
// names of this machine (DNS rebinding).
type operators struct {
	keys      []auth.APIKey
	localOnly bool // without keys only this machine is served
	metrics   *auth.Metrics
}

// only serves requests of operators.
func (o *operators) only(next echo.HandlerFunc) echo.HandlerFunc { return o.guard(next, false) }

// page does the same for pages. A link from another origin may lead to them: following it changes
// nothing, and the other origin cannot read the page.
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
		o.metrics.Refused(r.Context(), auth.Operator, code, "")
		if status == http.StatusUnauthorized {
			auth.Challenge(c.Response().Header(), status, code)
			if page { // so that the browser asks for the key
				c.Response().Header().Set(echo.HeaderWWWAuthenticate, `Basic realm="socketbridge operators: any name, the key as password", charset="UTF-8"`)
			}
		}
		return c.JSON(status, apierror.New(message, code, map[string]any{"action": "operate"}))
	}
}

// admit decides about a request; code is empty when the request is admitted.
func (o *operators) admit(r *http.Request, page bool) (status int, code, message string) {
	presented := auth.PresentedKey(r.Header)
	if presented != "" && auth.FindAPIKey(o.keys, presented) != "" {
		o.metrics.Accepted(auth.Operator)
		return 0, "", "" // no browser adds a key in a header by itself
	}
	_, typed, _ := r.BasicAuth()
	known := typed != "" && auth.FindAPIKey(o.keys, typed) != ""
	switch {
	case known:
	case len(o.keys) > 0 && presented == "" && typed == "":
		return http.StatusUnauthorized, auth.CodeUnauthorized, "An operators' key is required"
	case len(o.keys) > 0:
		return http.StatusUnauthorized, auth.CodeInvalidKey, "The operators' key is not known"
	case o.localOnly && !fromHere(r):
		return http.StatusNotFound, apierror.NotFound, "" // for other machines the route does not exist
	}
	if fromForeignPage(r, page) {
		return http.StatusForbidden, auth.CodeForbiddenOrigin, "Pages of other origins may not do this"
	}
	// A proxy's header changes nothing here: a page under a rebound name can set it.
	if !known && fromLoopback(r) && !isLoopbackName(r.Host) {
		return http.StatusForbidden, auth.CodeForbiddenHost, "Requests from this machine must use a loopback name in Host, such as localhost; other names need ops.keys"
	}
	if known {
		o.metrics.Accepted(auth.Operator)
	}
	return 0, "", ""
}

// admits reports whether a request would be admitted.
func (o *operators) admits(r *http.Request) bool {
	_, code, _ := o.admit(r, false)
	return code == ""
}

// fromHere reports whether a program on this machine has sent the request itself. A
// proxy on this machine has a loopback address too, so a request with any sign of a
// proxy is not from here.
func fromHere(r *http.Request) bool { return fromLoopback(r) && !proxied(r) }

// fromLoopback reports whether the other end of the network connection is on this machine.
func fromLoopback(r *http.Request) bool {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && from.Addr().Unmap().IsLoopback()
}

// fromForeignPage reports whether a browser made the request for a page of another origin. Other
// programs send neither header. A link from any origin may lead to a page.
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

// isLoopbackName reports whether a Host header is a loopback address or a name below localhost,
// which no name server can map to another address.
func isLoopbackName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if addr, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return addr.Unmap().IsLoopback()
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}
