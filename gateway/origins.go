package gateway

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
)

// Origins are the web origins whose pages may talk to the bridge. An empty list
// allows every page. Requests without an Origin header come from no page and are
// not concerned.
type Origins []string

// Allow reports whether pages of an origin may talk to the bridge.
func (o Origins) Allow(origin string) bool { return len(o) == 0 || slices.Contains(o, origin) }

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

// ofNoPage reports whether a request comes from no page, and what it is answered is
// nothing that a cache may give to one. Most callers' are such.
func ofNoPage(r *http.Request) bool {
	return r.Method == http.MethodPost && r.Header.Get(echo.HeaderOrigin) == ""
}

// bytesText is how echo's body limit wants a figure.
func bytesText(n int64) string { return strconv.FormatInt(n, 10) + "B" }
