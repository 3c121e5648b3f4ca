package gateway

import (
	_ "embed"
	"net/http"

	"github.com/labstack/echo/v4"
)

// The contracts that tools read: for callers, and for operators. Each route is in
// one of them.
var (
	//go:embed contract/openapi.json
	callersContract []byte
	//go:embed contract/openapi_ops.json
	operatorsContract []byte
)

// document serves a contract as it is.
func document(text []byte) echo.HandlerFunc {
	return func(c echo.Context) error { return c.JSONBlob(http.StatusOK, text) }
}
