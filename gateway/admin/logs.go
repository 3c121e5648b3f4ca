package admin

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/codewar/socketbridge/gateway/apierror"
	"github.com/codewar/socketbridge/internal/logging"
)

// logs answers with the last warnings and errors of this node, newest first.
func (sv *Service) logs(c echo.Context) error {
	limit := logging.MaxRecent
	if text := c.QueryParam("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return apierror.Refuse(c, http.StatusBadRequest, "INVALID_LIMIT", "limit must be a number, 0 or more", "logs")
		}
		limit = n
	}
	return c.JSON(http.StatusOK, map[string]any{"entries": sv.deps.Log.Recent(limit)})
}

type levelBody struct {
	Level string `json:"level"` // debug, info, warn or error
}

func (sv *Service) logLevel(c echo.Context) error {
	return c.JSON(http.StatusOK, levelBody{logging.LevelName(sv.deps.Log.Level())})
}

// setLogLevel changes the level of this node until the next change or the end of the process.
func (sv *Service) setLogLevel(c echo.Context) error {
	const maxBody = 1 << 10
	var body levelBody
	var level slog.Level
	err := json.NewDecoder(http.MaxBytesReader(c.Response(), c.Request().Body, maxBody)).Decode(&body)
	if err != nil || level.UnmarshalText([]byte(body.Level)) != nil {
		return apierror.Refuse(c, http.StatusBadRequest, "INVALID_LEVEL", `The body must be {"level": "debug"}, or info, warn or error`, "loglevel")
	}
	before := sv.deps.Log.Level()
	sv.deps.Log.SetLevel(level)
	sv.log.LogAttrs(context.WithoutCancel(c.Request().Context()), slog.LevelWarn, "log level changed",
		slog.String("from", logging.LevelName(before)), slog.String("to", logging.LevelName(level)))
	return sv.logLevel(c)
}
