package gateway

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
)

// Origins are the web origins whose pages may talk to the bridge. An empty list
// allows every page. Requests without an Origin header come from no page and are
// not concerned.
type Origins []string

// Allow reports whether pages of an origin may talk to the bridge.
func (o Origins) Allow(origin string) bool { return len(o) == 0 || slices.Contains(o, origin) }

// middleware sets the CORS headers that the Node service set.
func (o Origins) middleware() echo.MiddlewareFunc {
	return middleware.CORSWithConfig(middleware.CORSConfig{
		Skipper:          func(c echo.Context) bool { return ofNoPage(c.Request()) || ownOrigins(c) },
		AllowOriginFunc:  func(origin string) (bool, error) { return o.Allow(origin), nil },
		AllowMethods:     []string{http.MethodGet, http.MethodPost},
		AllowHeaders:     []string{echo.HeaderContentType, echo.HeaderAuthorization},
		AllowCredentials: true,
	})
}

// ofNoPage reports whether a request comes from no page, and what it is answered is
// nothing that a cache may give to one. Most callers' are such.
func ofNoPage(r *http.Request) bool {
	return r.Method == http.MethodPost && r.Header.Get(echo.HeaderOrigin) == ""
}

// ownOrigins reports whether a route is an operators', which no page of another
// origin may read.
func ownOrigins(c echo.Context) bool {
	path := c.Request().URL.Path
	for _, inside := range []string{"/api/", "/console", "/messages/", "/metrics", "/debug/"} {
		if strings.HasPrefix(path, inside) {
			return true
		}
	}
	return false
}

// bytesText is how echo's body limit wants a figure.
func bytesText(n int64) string { return strconv.FormatInt(n, 10) + "B" }
