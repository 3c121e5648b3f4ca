package hub

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/codewar/socketbridge/gateway/sio"
)

// TestCursorForm: the argument goes to clients that ask or that only the JavaScript
// library makes. The requests are those that the libraries have made, or make by their sources.
func TestCursorForm(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1795775733106) // when the polls of JavaScript were recorded
	dart := strconv.FormatInt(now.UnixMilli(), 36)
	const chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36"
	for name, tt := range map[string]struct {
		query, agent, extensions string
		auth                     sio.Auth
		want                     cursorForm
	}{
		"JavaScript 3.0, Node, polling":      {query: "EIO=4&transport=polling&t=Q8Sfe3Q&b64=1", agent: "node-XMLHttpRequest", want: cursorArgument},
		"JavaScript 4.8, Node, polling":      {query: "EIO=4&transport=polling&t=v9hq6061", agent: "node-XMLHttpRequest", want: cursorArgument},
		"JavaScript 4.8, browser, polling":   {query: "EIO=4&transport=polling&t=v9hq6061", agent: chrome, want: cursorArgument},
		"JavaScript 4.6, second poll":        {query: "EIO=4&transport=polling&t=Q8Sfe3Q.0", agent: chrome, want: cursorArgument},
		"JavaScript with its own query":      {query: "a=b&EIO=4&transport=polling&t=v9hq6061", agent: chrome, want: cursorArgument},
		"JavaScript, Node, websocket":        {query: "EIO=4&transport=websocket", extensions: nodeExtensions, want: cursorArgument},
		"JavaScript, browser, websocket":     {query: "EIO=4&transport=websocket", agent: chrome, extensions: nodeExtensions, want: cursorEvent},
		"the same, resuming":                 {query: "EIO=4&transport=websocket", agent: chrome, extensions: nodeExtensions, auth: sio.Auth{PID: "p"}, want: cursorEvent},
		"the same, asking":                   {query: "EIO=4&transport=websocket", agent: chrome, auth: sio.Auth{Resume: new(true)}, want: cursorArgument},
		"JavaScript, declining":              {query: "EIO=4&transport=polling&t=v9hq6061", agent: chrome, auth: sio.Auth{Resume: new(false), PID: "p"}, want: noCursor},
		"Dart, browser, polling":             {query: "EIO=4&transport=polling&t=" + dart, agent: chrome, want: cursorEvent},
		"Dart, browser, websocket":           {query: "EIO=4&transport=websocket", agent: chrome, extensions: nodeExtensions, want: cursorEvent},
		"Dart, phone, websocket":             {query: "EIO=4&transport=websocket", agent: "Dart/3.9 (dart:io)", extensions: nodeExtensions, want: cursorEvent},
		"Dart, phone, resuming":              {query: "EIO=4&transport=websocket", agent: "Dart/3.9 (dart:io)", auth: sio.Auth{PID: "p"}, want: cursorEvent},
		"Java, polling":                      {query: "EIO=4&transport=polling", agent: "okhttp/3.12.12", want: cursorEvent},
		"Java, polling, timestamps":          {query: "t=Q8Sfe3Q&EIO=4&transport=polling", agent: "okhttp/3.12.12", want: cursorEvent},
		"Java, websocket, its own agent":     {query: "EIO=4&transport=websocket", agent: "app", extensions: "permessage-deflate", want: cursorEvent},
		"C#, websocket":                      {query: "EIO=4&transport=websocket", want: cursorEvent},
		"Swift, polling":                     {query: "transport=polling&b64=1&EIO=4", agent: "app/1 CFNetwork", want: noCursor},
		"Swift, websocket":                   {query: "transport=websocket&EIO=4", want: noCursor},
		"Python, polling":                    {query: "transport=polling&EIO=4&t=1795775733.1", agent: "python-requests/2", want: noCursor},
		"Python, websocket":                  {query: "transport=websocket&EIO=4&t=1795775733.1", want: noCursor},
		"Python, asking":                     {query: "transport=websocket&EIO=4", auth: sio.Auth{Resume: new(true)}, want: cursorArgument},
		"order of nobody, with a private id": {query: "transport=websocket&EIO=4", auth: sio.Auth{PID: "p"}, want: cursorEvent},
	} {
		h := http.Header{}
		if tt.agent != "" {
			h.Set("User-Agent", tt.agent)
		}
		if tt.extensions != "" {
			h.Set("Sec-WebSocket-Extensions", tt.extensions)
		}
		if got := cursorFormOf(tt.auth, tt.query, h, now); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

// TestDartTime: a text of JavaScript's is nearly never taken for Dart's, and Dart's never
// for JavaScript's, whenever it is.
func TestDartTime(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	const tries = 100_000
	mistaken := 0
	for range tries {
		now := time.UnixMilli(1_700_000_000_000 + rnd.Int64N(700_000_000_000))
		base := strconv.FormatInt(now.UnixMilli(), 36)
		if !isDartTime(base, now.Add(time.Duration(rnd.IntN(86_000))*time.Second)) {
			t.Fatalf("%s is not taken for Dart's", base)
		}
		if isDartTime(base[3:]+fmt.Sprintf("%03s", strconv.FormatInt(rnd.Int64N(36*36*36), 36)), now) {
			mistaken++
		}
	}
	if mistaken > tries/1_000 {
		t.Errorf("%d of %d of JavaScript's are taken for Dart's", mistaken, tries)
	}
}
