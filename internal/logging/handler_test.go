package logging

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/slogtest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codewar/socketbridge/bridge"
)

// TestHandler: the handler meets the contract of [slog.Handler], WithAttrs and WithGroup included.
func TestHandler(t *testing.T) {
	t.Parallel()
	var out *bytes.Buffer
	slogtest.Run(t, func(*testing.T) slog.Handler {
		out = new(bytes.Buffer)
		return New(Config{Format: JSON}, out)
	}, func(t *testing.T) map[string]any {
		var line map[string]any
		if err := json.Unmarshal(out.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		return line
	})
}

func TestHandlerKeepsWarnings(t *testing.T) {
	t.Parallel()
	h := New(Config{Format: Text}, io.Discard)
	log := slog.New(h).With("node", "n1", "component", "router")
	log.Info("not kept")
	log.Warn("first", "err", errors.New("away"), "password", bridge.Secret("hunter2"), "took", 2*time.Second, "seq", uint64(7))
	log.WithGroup("g").With("a", 1).Error("second", slog.Group("h", "b", true), "long", strings.Repeat("x", 10_000))
	got := h.Recent(10)
	for i := range got {
		if _, err := time.Parse(time.RFC3339Nano, got[i].At); err != nil || !strings.HasSuffix(got[i].At, "Z") {
			t.Errorf("time %q", got[i].At)
		}
		got[i].At = ""
	}
	want := []Entry{
		{"", "error", "second", "n1", map[string]any{"component": "router", "g.a": int64(1), "g.h.b": true, "g.long": strings.Repeat("x", maxValueBytes)}},
		{"", "warn", "first", "n1", map[string]any{"component": "router", "err": "away", "password": bridge.Mask, "took": "2s", "seq": uint64(7)}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for i := range 2 * MaxRecent {
		line := slog.NewRecord(time.Now(), slog.LevelWarn, fmt.Sprint("message ", i), 0) // a name of its own, so that none is left out
		if err := log.Handler().Handle(t.Context(), line); err != nil {
			t.Fatal(err)
		}
	}
	if got := h.Recent(1000); len(got) != MaxRecent || got[0].Message != fmt.Sprint("message ", 2*MaxRecent-1) {
		t.Errorf("%d entries, the newest %+v", len(got), got[0])
	}
	if got := h.Recent(0); len(got) != 0 {
		t.Errorf("%d entries instead of none", len(got))
	}
}

// TestHandlerLimitsLines: many equal lines in one second are cut off, and the next one counts those
// left out. Other messages and debug lines are not affected.
func TestHandlerLimitsLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(New(Config{Level: slog.LevelDebug, Format: Text}, &out))
		for range 1000 {
			log.Info("user_connected")
			log.With("component", "x").Debug("settled")
		}
		log.Info("another")
		time.Sleep(time.Second)
		log.With("component", "y").Info("user_connected")
		log.Info("user_connected")
		for message, want := range map[string]int{"user_connected": linesPerSecond + 2, "settled": 1000, "another": 1, "left_out=950": 1} {
			if got := strings.Count(out.String(), message); got != want {
				t.Errorf("%d times %s, want %d", got, message, want)
			}
		}
	})
}
