// Package logging writes the log of the process, limits repeated lines and keeps the most recent
// warnings for operators.
package logging

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// Config configures the log.
type Config struct {
	Level  slog.Level `mapstructure:"level"`
	Format string     `mapstructure:"format"` // Text or JSON
}

// Values of [Config.Format].
const (
	Text = "text"
	JSON = "json"
)

// linesPerSecond limits the lines with the same message (`msg`) from level info on. When ten
// thousand browsers reconnect, the log has some of their lines and the count of the others.
const linesPerSecond = 50

// Handler is a [slog.Handler] that adds the request id, limits repeated lines, and keeps the most
// recent warnings and errors. Safe for concurrent use.
type Handler struct {
	// RequestID returns the id of the request that a context belongs to, or "". Nil: lines have
	// no request id. Set it before the first line is logged.
	RequestID func(context.Context) string

	next    slog.Handler
	level   *slog.LevelVar
	limiter *rateLimiter
	recent  *recent

	attrs []slog.Attr // of WithAttrs; the keys include their groups
	group string      // of WithGroup, with a dot at its end
}

// New returns a handler that writes to w.
func New(cfg Config, w io.Writer) *Handler {
	h := &Handler{level: new(slog.LevelVar), limiter: &rateLimiter{lines: make(map[string]*lineCount)}, recent: new(recent)}
	h.level.Set(cfg.Level)
	options := &slog.HandlerOptions{Level: h.level}
	if cfg.Format == JSON {
		h.next = slog.NewJSONHandler(w, options)
	} else {
		h.next = slog.NewTextHandler(w, options)
	}
	return h
}

// Level returns the level from which on lines are logged.
func (h *Handler) Level() slog.Level { return h.level.Level() }

// SetLevel changes the level, also of every handler derived from h.
func (h *Handler) SetLevel(l slog.Level) { h.level.Set(l) }

// LevelName returns a level as the configuration spells it.
func LevelName(l slog.Level) string { return strings.ToLower(l.String()) }

// Enabled implements [slog.Handler].
func (h *Handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle implements [slog.Handler].
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelInfo {
		leftOut, allowed := h.limiter.allow(r.Message, r.Time)
		if !allowed {
			return nil
		}
		if leftOut > 0 {
			r = r.Clone()
			r.AddAttrs(slog.Int("left_out", leftOut))
		}
	}
	if h.RequestID != nil {
		if id := h.RequestID(ctx); id != "" {
			r = r.Clone()
			r.AddAttrs(slog.String("request", id))
		}
	}
	if r.Level >= slog.LevelWarn {
		h.recent.add(h.entry(r))
	}
	return h.next.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	out := *h
	out.next = h.next.WithAttrs(attrs)
	out.attrs = slices.Clone(h.attrs)
	for _, a := range attrs {
		out.attrs = append(out.attrs, slog.Attr{Key: h.group + a.Key, Value: a.Value})
	}
	return &out
}

// WithGroup implements [slog.Handler].
func (h *Handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	out := *h
	out.next = h.next.WithGroup(name)
	out.group = h.group + name + "."
	return &out
}

// rateLimiter counts the lines of each message in the current second. Messages are constants of
// this program, so the map stays small.
type rateLimiter struct {
	mu    sync.Mutex // guards lines
	lines map[string]*lineCount
}

type lineCount struct {
	start   time.Time // of the current second
	n       int       // in the current second
	leftOut int       // since the last line that was written
}

// allow reports whether to write a line, and how many lines with its message were left out before it.
func (l *rateLimiter) allow(message string, now time.Time) (leftOut int, allowed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.lines[message]
	if c == nil {
		c = &lineCount{start: now}
		l.lines[message] = c
	}
	if since := now.Sub(c.start); since >= time.Second || since < 0 {
		c.start, c.n = now, 0
	}
	if c.n++; c.n > linesPerSecond {
		c.leftOut++
		return 0, false
	}
	leftOut, c.leftOut = c.leftOut, 0
	return leftOut, true
}
