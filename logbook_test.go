package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/slogtest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/internal/config"
)

// TestLogBookIsAHandler: what wraps the library's handlers keeps their promises,
// those of WithAttrs and WithGroup among them.
func TestLogBookIsAHandler(t *testing.T) {
	t.Parallel()
	var out *output
	slogtest.Run(t, func(*testing.T) slog.Handler {
		out = new(output)
		return newLogBook(config.Log{Format: config.LogJSON}, out)
	}, func(t *testing.T) map[string]any {
		var line map[string]any
		if err := json.Unmarshal([]byte(out.String()), &line); err != nil {
			t.Fatal(err)
		}
		return line
	})
}

func TestLogBookKeepsWarnings(t *testing.T) {
	t.Parallel()
	b := newLogBook(config.Log{Format: config.LogText}, io.Discard)
	log := slog.New(b).With("node", "n1", "component", "router")
	log.Info("not kept")
	log.Warn("first", "err", errors.New("away"), "password", bridge.Secret("hunter2"), "took", 2*time.Second, "seq", uint64(7))
	log.WithGroup("g").With("a", 1).Error("second", slog.Group("h", "b", true), "long", strings.Repeat("x", 10_000))
	got := b.kept.last(10)
	for i := range got {
		if _, err := time.Parse(time.RFC3339Nano, got[i].At); err != nil || !strings.HasSuffix(got[i].At, "Z") {
			t.Errorf("time %q", got[i].At)
		}
		got[i].At = ""
	}
	want := []logEntry{
		{"", "error", "second", "n1", map[string]any{"component": "router", "g.a": int64(1), "g.h.b": true, "g.long": strings.Repeat("x", keptText)}},
		{"", "warn", "first", "n1", map[string]any{"component": "router", "err": "away", "password": bridge.Mask, "took": "2s", "seq": uint64(7)}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for i := range 2 * keptEntries {
		line := slog.NewRecord(time.Now(), slog.LevelWarn, fmt.Sprint("message ", i), 0) // a name of its own, so that none is left out
		if err := log.Handler().Handle(t.Context(), line); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.kept.last(1000); len(got) != keptEntries || got[0].Message != fmt.Sprint("message ", 2*keptEntries-1) {
		t.Errorf("%d entries, the newest %+v", len(got), got[0])
	}
	if got := b.kept.last(0); len(got) != 0 {
		t.Errorf("%d entries instead of none", len(got))
	}
}

// TestLogBookThinsOut: of a storm some lines pass, and the next one says how many
// did not; other messages and debug are not concerned.
func TestLogBookThinsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out output
		log := slog.New(newLogBook(config.Log{Level: slog.LevelDebug, Format: config.LogText}, &out))
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

// TestLogsAreServed: an operator raises the level, sees the warnings, and finds a
// request by its name, on the running program.
func TestLogsAreServed(t *testing.T) {
	p := startProgram(t, "--set", "log.format=json")
	level := func(method, body string, status int) (answer struct{ Level, Code string }) {
		t.Helper()
		code, text := p.call(t, method, "/api/v1/loglevel", body)
		if err := json.Unmarshal([]byte(text), &answer); code != status || err != nil {
			t.Fatalf("%s %s: %d %s", method, body, code, text)
		}
		return answer
	}
	if got := level(http.MethodGet, "", http.StatusOK).Level; got != "info" {
		t.Errorf("level %q", got)
	}
	if strings.Contains(p.stderr.String(), `"level":"DEBUG"`) {
		t.Error("debug lines at level info")
	}
	if got := level(http.MethodPut, `{"level":"debug"}`, http.StatusOK).Level; got != "debug" {
		t.Errorf("level %q", got)
	}
	p.says(t, `"msg":"settled"`) // a canary's, at debug
	for _, wrong := range []string{`{"level":"loud"}`, `{}`, `debug`, ``, `{"level":"` + strings.Repeat("x", 2000) + `"}`} {
		if got := level(http.MethodPut, wrong, http.StatusBadRequest).Code; got != "INVALID_LEVEL" {
			t.Errorf("%.30s: code %q", wrong, got)
		}
	}
	level(http.MethodPut, `{"level":"WARN"}`, http.StatusOK)

	var logs struct{ Entries []logEntry }
	_, text := p.get("/api/v1/logs?limit=1")
	if err := json.Unmarshal([]byte(text), &logs); err != nil || len(logs.Entries) != 1 {
		t.Fatalf("logs: %v %s", err, text)
	}
	last := logs.Entries[0]
	if last.Message != "log level changed" || last.Attrs["from"] != "debug" || last.Attrs["to"] != "warn" || last.Node == "" || last.Level != "warn" {
		t.Errorf("last entry %+v", last)
	}
	if code, _ := p.get("/api/v1/logs?limit=x"); code != http.StatusBadRequest {
		t.Errorf("limit x: %d", code)
	}
	_, text = p.get("/api/v1/logs")
	if !strings.Contains(text, "auth.mode is none") {
		t.Errorf("the warnings of the start are not there: %s", text)
	}
}

// says waits for a text in the log.
func (p *program) says(t testing.TB, text string) {
	t.Helper()
	for range 1000 {
		if strings.Contains(p.stderr.String(), text) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("the log never says %s:\n%s", text, p.stderr)
}

func (p *program) call(t testing.TB, method, path, body string) (status int, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, p.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := httpClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}
