package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/codewar/socketbridge/gateway/siotest"
	"github.com/codewar/socketbridge/internal/testutil/launch"
)

// numbers waits for the messages {"n":from} to {"n":to-1}, in order, and returns their cursors.
func numbers(t testing.TB, c *siotest.Client, from, to int) (cursors []string) {
	t.Helper()
	for n := from; n < to; n++ {
		m := c.EventNamed("t")
		var cursor string
		if len(m.Args) > 1 {
			_ = json.Unmarshal(m.Args[1], &cursor)
		}
		if want := fmt.Sprintf(`{"n":%d}`, n); string(m.Args[0]) != want {
			t.Fatalf("got %s, want %s", m.Args[0], want)
		}
		cursors = append(cursors, cursor)
	}
	return cursors
}

// TestAfterWithTokens: a client that its token has mapped already, and that says then
// what it lacks, gets it although another tab of its user had it; once it was given
// later messages, it is told instead.
func TestAfterWithTokens(t *testing.T) {
	p := startAuthProgram(t)
	node := siotest.Start(t)
	send := func(n int) {
		t.Helper()
		body := fmt.Sprintf(`{"userId":"user_123","topic":"t","n":%d}`, n)
		if status, _, m := p.send(t, map[string]string{"X-API-Key": p.apiKey}, body); status != http.StatusOK {
			t.Fatalf("%d %v", status, m)
		}
	}
	other := node.Dial(p.URL, options("websocket", hmacToken(t, nil)))
	other.EventNamed("bridge:offset")
	for n := range 3 {
		send(n)
	}
	cursors := numbers(t, other, 0, 3)
	late := node.Dial(p.URL, options("websocket", hmacToken(t, nil)))
	late.EventNamed("bridge:offset")
	late.EmitWithAck("setUserId", "user_123", map[string]any{"after": cursors[0]})
	numbers(t, late, 1, 3)
	send(3)
	numbers(t, late, 3, 4)
	late.EmitWithAck("setUserId", "user_123", map[string]any{"after": cursors[2]})
	if got := len(errorsOf(late)); got != 0 {
		t.Errorf("told %d errors of what it has", got)
	}
	late.EmitWithAck("setUserId", "user_123", map[string]any{"after": "1-0"})
	if e := late.EventNamed("error"); !strings.Contains(e.Raw, "HISTORY_GAP") {
		t.Errorf("told %s", e.Raw)
	}
	send(4)
	numbers(t, late, 4, 5)
	numbers(t, other, 3, 5)
}

// TestLoginOfAnotherWithTokens: on one socket object, whose client presents the cursor of the
// user before, another user is sent what waits for them.
func TestLoginOfAnotherWithTokens(t *testing.T) {
	p := startAuthProgram(t)
	node := siotest.Start(t)
	key := map[string]string{"X-API-Key": p.apiKey}
	first := node.Dial(p.URL, options("websocket", hmacToken(t, nil)))
	first.EventNamed("bridge:offset")
	for n := range 10 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.URL+"/sendPayload?queue=true", strings.NewReader(fmt.Sprintf(`{"userId":"v","topic":"t","n":%d}`, n)))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-API-Key", p.apiKey)
		r.Header.Set("Content-Type", "application/json")
		res, err := launch.Client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusAccepted {
			t.Fatalf("queued: %d", res.StatusCode)
		}
	}
	if status, _, m := p.send(t, key, `{"userId":"user_123","topic":"t","n":0}`); status != http.StatusOK {
		t.Fatalf("%d %v", status, m)
	}
	cursor := numbers(t, first, 0, 1)[0]
	second := options("websocket", hmacToken(t, jwt.MapClaims{"sub": "v"}))
	second.Auth["offset"], second.Auth["pid"] = cursor, first.Connected().PID
	v := node.Dial(p.URL, second)
	if v.Connected().Recovered {
		t.Error("recovered the session of another user")
	}
	numbers(t, v, 0, 10)
	if got := len(errorsOf(v)); got != 0 {
		t.Errorf("told %d errors", got)
	}
}

func errorsOf(c *siotest.Client) (found []siotest.Message) {
	for _, m := range c.Pending() {
		if m.Name == "error" {
			found = append(found, m)
		}
	}
	return found
}
