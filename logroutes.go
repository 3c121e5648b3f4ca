package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/codewar/socketbridge/gateway"
)

// operate adds the log's routes for operators.
func (b *logBook) operate(srv *gateway.Server) {
	srv.Operate(http.MethodGet, "/api/v1/logs", b.logs)
	srv.Operate(http.MethodGet, "/api/v1/loglevel", b.tellLevel)
	srv.Operate(http.MethodPut, "/api/v1/loglevel", b.setLevel)
}

// logs answers with the last warnings and errors, newest first.
func (b *logBook) logs(c echo.Context) error {
	limit := keptEntries
	if text := c.QueryParam("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return gateway.Refuse(c, http.StatusBadRequest, "INVALID_LIMIT", "limit must be a number, 0 or more", "logs")
		}
		limit = n
	}
	return c.JSON(http.StatusOK, map[string]any{"entries": b.kept.last(limit)})
}

type levelBody struct {
	Level string `json:"level"` // debug, info, warn or error
}

func (b *logBook) tellLevel(c echo.Context) error {
	return c.JSON(http.StatusOK, levelBody{levelName(b.level.Level())})
}

// setLevel changes the level of this node until it is changed again or the process ends.
func (b *logBook) setLevel(c echo.Context) error {
	const most = 1 << 10
	var body levelBody
	var level slog.Level
	err := json.NewDecoder(http.MaxBytesReader(c.Response(), c.Request().Body, most)).Decode(&body)
	if err != nil || level.UnmarshalText([]byte(body.Level)) != nil {
		return gateway.Refuse(c, http.StatusBadRequest, "INVALID_LEVEL", `The body must be {"level": "debug"}, or info, warn or error`, "loglevel")
	}
	before := b.level.Level()
	b.level.Set(level)
	slog.New(b).LogAttrs(context.WithoutCancel(c.Request().Context()), slog.LevelWarn, "log level changed",
		slog.String("from", levelName(before)), slog.String("to", levelName(level)))
	return b.tellLevel(c)
}

// levelName spells a level as the configuration does.
func levelName(l slog.Level) string {
	text, err := l.MarshalText()
	if err != nil {
		panic(err) // it cannot
	}
	return strings.ToLower(string(text))
}
