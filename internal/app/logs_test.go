package app_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/codewar/socketbridge/internal/logging"
	"github.com/codewar/socketbridge/internal/testutil/launch"
)

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
	if strings.Contains(p.Stderr.String(), `"level":"DEBUG"`) {
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

	var logs struct{ Entries []logging.Entry }
	_, text := p.Get("/api/v1/logs?limit=1")
	if err := json.Unmarshal([]byte(text), &logs); err != nil || len(logs.Entries) != 1 {
		t.Fatalf("logs: %v %s", err, text)
	}
	last := logs.Entries[0]
	if last.Message != "log level changed" || last.Attrs["from"] != "debug" || last.Attrs["to"] != "warn" || last.Node == "" || last.Level != "warn" {
		t.Errorf("last entry %+v", last)
	}
	if code, _ := p.Get("/api/v1/logs?limit=x"); code != http.StatusBadRequest {
		t.Errorf("limit x: %d", code)
	}
	_, text = p.Get("/api/v1/logs")
	if !strings.Contains(text, "auth.mode is none") {
		t.Errorf("the warnings of the start are not there: %s", text)
	}
}

// says waits for a text in the log.
func (p *program) says(t testing.TB, text string) {
	t.Helper()
	for range 1000 {
		if strings.Contains(p.Stderr.String(), text) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("the log never says %s:\n%s", text, p.Stderr)
}

func (p *program) call(t testing.TB, method, path, body string) (status int, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, p.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := launch.Client.Do(r)
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
