package main

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/codewar/socketbridge/gateway"
	"github.com/codewar/socketbridge/internal/config"
)

const (
	// linesPerSecond bounds the lines of one message (`msg`) from info on: when ten
	// thousand browsers reconnect the log tells of some and counts the others.
	linesPerSecond = 50
	// keptEntries is how many warnings and errors can be asked for, and keptText how
	// many bytes of one of their values.
	keptEntries = 200
	keptText    = 4 << 10
)

// logBook is where every line of the log passes: it adds the name of the request,
// thins out what comes too often, and remembers the last warnings and errors.
// It implements [slog.Handler].
type logBook struct {
	next  slog.Handler
	level *slog.LevelVar
	thin  *thinner
	kept  *keptLines

	with  []slog.Attr // of WithAttrs, with the names of their groups before them
	group string      // of WithGroup, with a dot at its end
}

func newLogBook(cfg config.Log, w io.Writer) *logBook {
	b := &logBook{level: new(slog.LevelVar), thin: new(thinner), kept: new(keptLines)}
	b.level.Set(cfg.Level)
	options := &slog.HandlerOptions{Level: b.level}
	if cfg.Format == config.LogJSON {
		b.next = slog.NewJSONHandler(w, options)
	} else {
		b.next = slog.NewTextHandler(w, options)
	}
	return b
}

func newLogger(cfg config.Log, w io.Writer) *slog.Logger { return slog.New(newLogBook(cfg, w)) }

func (b *logBook) Enabled(ctx context.Context, level slog.Level) bool {
	return b.next.Enabled(ctx, level)
}

func (b *logBook) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelInfo {
		leftOut, pass := b.thin.pass(r.Message, r.Time)
		if !pass {
			return nil
		}
		if leftOut > 0 {
			r = r.Clone()
			r.AddAttrs(slog.Int("left_out", leftOut))
		}
	}
	if request := gateway.RequestID(ctx); request != "" {
		r = r.Clone()
		r.AddAttrs(slog.String("request", request))
	}
	if r.Level >= slog.LevelWarn {
		b.kept.add(b.entry(r))
	}
	return b.next.Handle(ctx, r)
}

func (b *logBook) WithAttrs(attrs []slog.Attr) slog.Handler {
	out := *b
	out.next = b.next.WithAttrs(attrs)
	out.with = slices.Clone(b.with)
	for _, a := range attrs {
		out.with = append(out.with, slog.Attr{Key: b.group + a.Key, Value: a.Value})
	}
	return &out
}

func (b *logBook) WithGroup(name string) slog.Handler {
	if name == "" {
		return b
	}
	out := *b
	out.next = b.next.WithGroup(name)
	out.group = b.group + name + "."
	return &out
}

// logEntry is one line as it is remembered.
type logEntry struct {
	At      string         `json:"at"`
	Level   string         `json:"level"`
	Message string         `json:"message"`
	Node    string         `json:"node"`
	Attrs   map[string]any `json:"attrs"`
}

func (b *logBook) entry(r slog.Record) logEntry {
	e := logEntry{At: r.Time.UTC().Format(timeFormat), Level: levelName(r.Level), Message: r.Message, Attrs: make(map[string]any)}
	for _, a := range b.with {
		e.put("", a)
	}
	e.Node, _ = e.Attrs["node"].(string) // of this process; a line about another node has its name again
	delete(e.Attrs, "node")
	r.Attrs(func(a slog.Attr) bool {
		e.put(b.group, a)
		return true
	})
	return e
}

// timeFormat is RFC 3339 with milliseconds.
const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// put adds an attribute, the members of a group with its name before theirs.
func (e *logEntry) put(prefix string, a slog.Attr) {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, member := range v.Group() {
			e.put(prefix, member)
		}
		return
	}
	switch v.Kind() {
	case slog.KindInt64, slog.KindUint64, slog.KindBool:
		e.Attrs[prefix+a.Key] = v.Any()
	case slog.KindTime:
		e.Attrs[prefix+a.Key] = v.Time().UTC().Format(timeFormat)
	default:
		text := v.String()
		e.Attrs[prefix+a.Key] = text[:min(len(text), keptText)]
	}
}

// keptLines are the last warnings and errors.
type keptLines struct {
	mu   sync.Mutex // guards what follows
	ring [keptEntries]logEntry
	n    int // added so far
}

func (k *keptLines) add(e logEntry) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ring[k.n%keptEntries] = e
	k.n++
}

// last returns at most limit entries, newest first.
func (k *keptLines) last(limit int) []logEntry {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]logEntry, 0, max(0, min(limit, k.n, keptEntries)))
	for i := k.n - 1; len(out) < cap(out); i-- {
		out = append(out, k.ring[i%keptEntries])
	}
	return out
}

// thinner counts the lines of each message in the second that runs. Messages are
// constants of this program, so there are few.
type thinner struct {
	mu    sync.Mutex // guards lines
	lines map[string]*second
}

type second struct {
	begun   time.Time
	n       int
	leftOut int // and not told yet
}

// pass reports whether to write a line, and how many like it were left out before.
func (t *thinner) pass(message string, now time.Time) (leftOut int, pass bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.lines[message]
	if s == nil {
		if t.lines == nil {
			t.lines = make(map[string]*second)
		}
		s = &second{begun: now}
		t.lines[message] = s
	}
	if since := now.Sub(s.begun); since >= time.Second || since < 0 {
		s.begun, s.n = now, 0
	}
	if s.n++; s.n > linesPerSecond {
		s.leftOut++
		return 0, false
	}
	leftOut, s.leftOut = s.leftOut, 0
	return leftOut, true
}
