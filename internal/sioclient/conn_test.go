package sioclient

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	open   = `0{"sid":"e","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000}`
	joined = `40{"sid":"s1","pid":"p1"}`
)

// script is a server: it says what follows "<", wants to be told what follows
// ">", and at "." that the client leaves.
func script(t *testing.T, lines ...string) (url string) {
	t.Helper()
	done := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		if r.URL.RequestURI() != "/socket.io/?EIO=4&transport=websocket" {
			t.Errorf("asked for %s", r.URL)
		}
		ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer ws.Close()
		for _, line := range lines {
			text := line[1:]
			if line[0] == '<' {
				_ = ws.WriteMessage(websocket.TextMessage, []byte(text))
				continue
			}
			_, got, err := ws.ReadMessage()
			if line[0] == '.' && err != nil {
				return
			}
			if err != nil || string(got) != text {
				t.Errorf("told %q, %v, want %q", got, err, text)
			}
		}
	}))
	t.Cleanup(func() { <-done; srv.Close() })
	return srv.URL
}

func TestConversation(t *testing.T) {
	t.Parallel()
	url := script(t, "<"+open, `>40{"offset":"1-1","pid":"p1","resume":true,"token":"t"}`, "<"+joined,
		`>421["setUserId","ü\"1"]`, "<2", ">3", `<42["early",{"a":1.0},"1-2"]`, `<431[{"ok":true}]`, "<6",
		`<4212["sure",{}]`, `<42["text","1-3"]`, `>4312[]`, "<41")
	c, err := Dial(t.Context(), Options{URL: url, Token: "t", Session: Session{"p1", "1-1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.ID() != "s1" || !c.Recovered() {
		t.Errorf("joined as %s, recovered %v", c.ID(), c.Recovered())
	}
	mapped := false
	if err := c.SetUser(`ü"1`, func() { mapped = true }); err != nil {
		t.Fatal(err)
	}
	var got []string
	var events []Event
	for range 3 {
		e, err := c.Read()
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
		got = append(got, fmt.Sprintf("%s %s mapped=%v wanted=%v offset=%s", e.Name, e.Args, mapped, e.Wanted(), c.Session().Offset))
	}
	want := []string{
		`early [{"a":1.0} "1-2"] mapped=false wanted=false offset=1-2`,
		`sure [{}] mapped=true wanted=true offset=1-2`,
		`text ["1-3"] mapped=true wanted=false offset=1-3`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("events (-want +got):\n%s", d)
	}
	for _, e := range events { // the one that wants it is confirmed, the others are not
		if err := c.Confirm(e); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Read(); !errors.Is(err, ErrLeft) {
		t.Errorf("the server's disconnect: %v", err)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		lines []string
		want  RefusedError
	}{
		"connect": {[]string{"<" + open, `>40{"resume":true}`, `<44{"message":"no","data":{"code":"BAD_TOKEN"}}`}, RefusedError{0, "BAD_TOKEN", "no"}},
		"user":    {[]string{"<" + open, `>40{"resume":true}`, "<" + joined, `>421["setUserId","u"]`, `<431[{"error":"many","code":"X"}]`}, RefusedError{0, "X", "many"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := Dial(t.Context(), Options{URL: script(t, tt.lines...)})
			if err == nil {
				defer c.Close()
				if err = c.SetUser("u", func() { t.Error("mapped") }); err == nil {
					_, err = c.Read()
				}
			}
			if got, ok := errors.AsType[*RefusedError](err); !ok || *got != tt.want {
				t.Errorf("got %v, want %v", err, &tt.want)
			}
		})
	}
}

func TestHandshakeRefused(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]RefusedError{
		`{"code":4,"message":"origin not allowed"}`:           {403, "", "origin not allowed"},
		`{"error":"Too many","code":"RATE_LIMITED","x":null}`: {403, "RATE_LIMITED", "Too many"},
		`gone`: {403, "", "handshake refused"},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, body)
		}))
		_, err := Dial(t.Context(), Options{URL: srv.URL})
		if got, ok := errors.AsType[*RefusedError](err); !ok || *got != want {
			t.Errorf("%s: got %v, want %v", body, err, &want)
		}
		srv.Close()
	}
}

// TestStrict: what the protocol does not allow is never taken for something else.
func TestStrict(t *testing.T) {
	t.Parallel()
	for _, say := range []string{"0{}", "5", "4", "42", "42{}", "42[]", "42[1]", "431[]", `43["x"]`, "45-[]", `42/x,["e"]`, "4299999999999999999999[\"e\"]"} {
		t.Run(say, func(t *testing.T) {
			t.Parallel()
			c, err := Dial(t.Context(), Options{URL: script(t, "<"+open, `>40{"resume":true}`, "<"+joined, "<"+say)})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if e, err := c.Read(); !errors.Is(err, ErrProtocol) {
				t.Errorf("read %v, %v", e, err)
			}
		})
	}
	for _, url := range []string{"", "localhost:3004", "ftp://x", "http://", "://"} {
		if _, err := Dial(t.Context(), Options{URL: url}); err == nil || !strings.Contains(err.Error(), "http://host:port") {
			t.Errorf("%q: %v", url, err)
		}
	}
}

// TestEndsWithContext: a reader that waits is let go.
func TestEndsWithContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	c, err := Dial(ctx, Options{URL: script(t, "<"+open, `>40{"resume":true}`, "<"+joined, ".")})
	if err == nil {
		_, err = c.Read()
		c.Close()
	}
	if err == nil || ctx.Err() == nil {
		t.Errorf("read ended with %v, context %v", err, ctx.Err())
	}
}
