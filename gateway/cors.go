package gateway

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/codewar/socketbridge/gateway/limit"
)

// Origins are the web origins whose pages may use the bridge. An empty list allows every page.
// Requests without an Origin header come from no page and are allowed.
type Origins []string

// Allow reports whether pages of an origin may use the bridge.
func (o Origins) Allow(origin string) bool { return len(o) == 0 || slices.Contains(o, origin) }

// pages decides whether the page that made a request may use the bridge, by the headers that
// browsers add. Requests of other programs do not have them and are allowed.
type pages struct {
	origins Origins
	proxies []netip.Prefix // that may say which scheme the browser used
}

// allow reports whether the origins allow the request, or its page is the bridge's own. Where the
// browser sends no Origin, Sec-Fetch-Site shows whether the page is of another site.
func (p pages) allow(r *http.Request) bool {
	if len(p.origins) == 0 {
		return true
	}
	switch lines := r.Header.Values(echo.HeaderOrigin); {
	case len(lines) > 1:
		return false // no browser sends two
	case len(lines) == 1 && lines[0] != "":
		return p.origins.Allow(lines[0]) || p.own(lines[0], r)
	}
	site := r.Header.Get("Sec-Fetch-Site")
	return site == "" || site == "same-origin" || site == "none"
}

// own reports whether an origin is the address that the request was sent to. It must not be used for
// operators' routes: a page under a rebound name has the same origin as its requests.
//
// The Swift client sends the address of its websocket, with scheme ws or wss. No page has
// such an origin, so it need not tell whether TLS ends at a proxy.
func (p pages) own(origin string, r *http.Request) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || origin != u.Scheme+"://"+u.Host {
		return false
	}
	scheme, program := map[string]string{"ws": "http", "wss": "https"}[u.Scheme]
	if !program {
		scheme = u.Scheme
	}
	return (program || scheme == p.scheme(r)) && strings.EqualFold(withPort(u.Host, scheme), withPort(r.Host, scheme))
}

// scheme is the scheme that the browser has used, as far as known: TLS may end at a proxy, whose
// X-Forwarded-Proto counts when its address is trusted.
func (p pages) scheme(r *http.Request) string {
	if r.TLS != nil {
		return "https"
	}
	peer := limit.Peer(r)
	if slices.ContainsFunc(p.proxies, func(n netip.Prefix) bool { return n.Contains(peer) }) && r.Header.Get(echo.HeaderXForwardedProto) == "https" {
		return "https"
	}
	return "http"
}

// withPort spells a host with its port, which a browser leaves out when it is the scheme's own.
func withPort(host, scheme string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), map[string]string{"http": "80", "https": "443"}[scheme])
}

// middleware sets the CORS headers that the Node service set, except on operators'
// routes, which no page of another origin may read.
func (o Origins) middleware(operators map[string]struct{}) echo.MiddlewareFunc {
	return middleware.CORSWithConfig(middleware.CORSConfig{
		Skipper: func(c echo.Context) bool {
			_, inside := operators[c.Path()]
			return inside || ofNoPage(c.Request())
		},
		AllowOriginFunc:  func(origin string) (bool, error) { return o.Allow(origin), nil },
		AllowMethods:     []string{http.MethodGet, http.MethodPost},
		AllowHeaders:     []string{echo.HeaderContentType, echo.HeaderAuthorization},
		AllowCredentials: true,
	})
}

// ofNoPage reports whether a request comes from no page and its answer cannot be cached for one.
// Most calls are such requests.
func ofNoPage(r *http.Request) bool {
	return r.Method == http.MethodPost && r.Header.Get(echo.HeaderOrigin) == ""
}
