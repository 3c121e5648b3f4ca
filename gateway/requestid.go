package gateway

import (
	"context"
	"crypto/rand"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
)

// requestKey is the key of a request's id in its context.
type requestKey struct{}

// RequestID is the id of the request that a context belongs to, "" for none.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestKey{}).(string)
	return id
}

// assignRequestID gives each request an id: the one in X-Request-ID when that is short and plain,
// else a random one.
func assignRequestID(next echo.HandlerFunc) echo.HandlerFunc {
	named := middleware.RequestIDWithConfig(middleware.RequestIDConfig{
		Generator: rand.Text,
		RequestIDHandler: func(c echo.Context, id string) {
			r := c.Request()
			c.SetRequest(r.WithContext(context.WithValue(r.Context(), requestKey{}, id)))
		},
	})(next)
	return func(c echo.Context) error {
		if header := c.Request().Header; !isPlainID(header.Get(echo.HeaderXRequestID)) {
			header.Del(echo.HeaderXRequestID)
		}
		return named(c)
	}
}

// isPlainID reports whether an id is short and safe in logs and headers.
func isPlainID(s string) bool {
	const most = 128
	if len(s) > most {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || s[i] == '"' || s[i] == '\\' {
			return false
		}
	}
	return true
}
