package logging

import (
	"log/slog"
	"sync"
)

const (
	// MaxRecent is how many warnings and errors are kept.
	MaxRecent = 200
	// maxValueBytes bounds one value of an entry that is kept.
	maxValueBytes = 4 << 10
)

// Entry is a line of the log that is kept, as the operators' API shows it.
type Entry struct {
	At      string         `json:"at"`
	Level   string         `json:"level"`
	Message string         `json:"message"`
	Node    string         `json:"node"`
	Attrs   map[string]any `json:"attrs"`
}

// Recent returns at most limit of the last warnings and errors, newest first.
func (h *Handler) Recent(limit int) []Entry { return h.recent.last(limit) }

func (h *Handler) entry(r slog.Record) Entry {
	e := Entry{At: r.Time.UTC().Format(timeFormat), Level: LevelName(r.Level), Message: r.Message, Attrs: make(map[string]any)}
	for _, a := range h.attrs {
		e.put("", a)
	}
	e.Node, _ = e.Attrs["node"].(string) // this process; a line about another node has an attribute node of its own
	delete(e.Attrs, "node")
	r.Attrs(func(a slog.Attr) bool {
		e.put(h.group, a)
		return true
	})
	return e
}

// timeFormat is RFC 3339 with milliseconds.
const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// put adds an attribute. The keys of a group's members begin with the group's name.
func (e *Entry) put(prefix string, a slog.Attr) {
	switch v := a.Value.Resolve(); v.Kind() {
	case slog.KindGroup:
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, member := range v.Group() {
			e.put(prefix, member)
		}
	case slog.KindInt64, slog.KindUint64, slog.KindBool:
		e.Attrs[prefix+a.Key] = v.Any()
	case slog.KindTime:
		e.Attrs[prefix+a.Key] = v.Time().UTC().Format(timeFormat)
	default:
		text := v.String()
		e.Attrs[prefix+a.Key] = text[:min(len(text), maxValueBytes)]
	}
}

// recent is a ring of the last warnings and errors.
type recent struct {
	mu   sync.Mutex // guards what follows
	ring [MaxRecent]Entry
	n    int // added so far
}

func (k *recent) add(e Entry) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ring[k.n%MaxRecent] = e
	k.n++
}

func (k *recent) last(limit int) []Entry {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]Entry, 0, max(0, min(limit, k.n, MaxRecent)))
	for i := k.n - 1; len(out) < cap(out); i-- {
		out = append(out, k.ring[i%MaxRecent])
	}
	return out
}
