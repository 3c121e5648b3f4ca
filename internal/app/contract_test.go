package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go"

	"github.com/codewar/socketbridge/internal/cli"
	"github.com/codewar/socketbridge/internal/sioclient"
	"github.com/codewar/socketbridge/internal/testutil/contract"
	"github.com/codewar/socketbridge/internal/testutil/launch"
	"github.com/codewar/socketbridge/internal/testutil/wait"
)

// talk is a conversation with a running bridge in which every message is held
// against docs/asyncapi.yaml.
type talk struct {
	*testing.T
	doc *contract.Document

	mu      sync.Mutex      // guards checked
	checked map[string]bool // messages of the contract that were seen
}

// holds fails the test unless a message is as the contract says.
func (c *talk) holds(message string, value any) {
	c.Helper()
	text, err := json.Marshal(value)
	if err == nil {
		err = c.doc.JSON(text, "components", "messages", message, "payload")
	}
	if err != nil {
		c.Errorf("%s: %v", message, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.checked[message] = true
}

// TestAsyncAPI has each message of the contract sent or received for real.
func TestAsyncAPI(t *testing.T) {
	text, err := os.ReadFile(root + "docs/asyncapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c := &talk{T: t, doc: contract.Open(t, text), checked: make(map[string]bool)}
	t.Run("official schema", func(t *testing.T) {
		c.doc.Valid(t, root+"e2e", "@asyncapi/specs/schemas/3.0.0.json")
	})
	c.examples()
	launch.Clean(t)
	addr := launch.FreeAddr(t)
	p := startProgram(t, "--set", "nats.embedded.addr="+addr, "--set", "drain.duration=0s")
	c.open(p, addr)
	p.Wait(t)
	secret := "auth.secrets=k:0123456789abcdef0123456789abcdef"
	p = startProgram(t, "--set", "auth.mode=jwt", "--set", secret, "--set", "drain.duration=0s")
	c.tokens(p, secret)
	p.Wait(t)
	if d := cmp.Diff(c.doc.Keys("components", "messages"), slices.Sorted(maps.Keys(c.checked))); d != "" {
		t.Errorf("messages of the contract that were not seen (-contract +seen):\n%s", d)
	}
}

// examples holds the contract's own examples against it.
func (c *talk) examples() {
	c.Helper()
	n := 0
	for _, message := range c.doc.Keys("components", "messages") {
		for _, example := range c.doc.List("components", "messages", message, "examples") {
			n++
			text, _ := json.Marshal(example["payload"]) // it came from JSON
			if err := c.doc.JSON(text, "components", "messages", message, "payload"); err != nil {
				c.Errorf("example of %s: %v", message, err)
			}
		}
	}
	if n < 8 {
		c.Errorf("only %d examples", n)
	}
}

// call emits an event and returns the answer, which events may come before.
func (c *talk) call(conn *sioclient.Conn, name string, args ...any) (answer []json.RawMessage) {
	c.Helper()
	done := false
	err := conn.Call(func(args []json.RawMessage) error { answer, done = args, true; return io.EOF }, name, args...)
	for err == nil && !done {
		_, err = conn.Read()
	}
	if !done {
		c.Fatalf("%s: %v", name, err)
	}
	return answer
}

// open is what a bridge says without authentication.
func (c *talk) open(p *program, addr string) {
	nc, err := nats.Connect("nats://" + addr)
	if err != nil {
		c.Fatal(err)
	}
	defer nc.Close()
	send := func(subject, body string, header nats.Header) (receipt map[string]any) {
		c.Helper()
		sub, err := nc.SubscribeSync(nc.NewInbox())
		if err != nil {
			c.Fatal(err)
		}
		m := &nats.Msg{Subject: subject, Data: []byte(body), Header: header}
		m.Header.Set("Bridge-Receipt", sub.Subject)
		if err := nc.PublishMsg(m); err != nil {
			c.Fatal(err)
		}
		answer, err := sub.NextMsg(10 * time.Second)
		if err != nil {
			c.Fatal(err)
		}
		if err := json.Unmarshal(answer.Data, &receipt); err != nil {
			c.Fatal(err)
		}
		c.holds("Receipt", receipt)
		return receipt
	}
	conn, err := sioclient.Dial(c.Context(), sioclient.Options{URL: p.URL})
	if err != nil {
		c.Fatal(err)
	}
	defer conn.Close()
	c.holds("Connect", map[string]any{"resume": true})

	c.holds("SetUserId", []any{"u"})
	first := c.call(conn, "setUserId", "u")[0]
	c.holds("SetUserIdAnswer", first)
	c.holds("SetUserIdAnswer", c.call(conn, "setUserId", strings.Repeat("x", 129))[0]) // refused
	c.holds("GetConnectionId", []any{"nobody"})
	c.holds("ConnectionId", c.call(conn, "getConnectionId", "nobody"))
	c.holds("ConnectionId", c.call(conn, "getConnectionId", "u"))

	for _, tt := range []struct {
		subject, body string
		header        nats.Header
		outcome       string
	}{
		{"codewar.t", `{"userId":"u","a":1}`, nats.Header{}, "pushed"},
		{"codewar.t", `{"userId":"u","topic":"t"}`, nats.Header{"Bridge-Ack": {"client"}}, "pushed"},
		{"codewar.t", `{"userId":7}`, nats.Header{}, "inboxed"},
		{"codewar.t", `{"userId":"away"}`, nats.Header{"Bridge-Offline": {"drop"}}, "offline"},
		{"codewar.t", `{"userId":`, nats.Header{"X-Mine": {"1"}}, "dead"},
	} {
		done := make(chan struct{})
		go func() { // the page
			defer close(done)
			if tt.outcome == "pushed" {
				c.page(conn, "t")
			}
		}()
		if got := send(tt.subject, tt.body, tt.header)["outcome"]; got != tt.outcome {
			c.Errorf("%s: %v, want %s", tt.body, got, tt.outcome)
		}
		<-done
		if tt.outcome != "dead" {
			c.holds("Envelope", json.RawMessage(tt.body))
		}
	}
	c.deadLetter(nc)
	if err := conn.Call(func([]json.RawMessage) error { return nil }, "getConnectionId", "u"); err != nil {
		c.Fatal(err)
	}
	c.page(conn, "connectionId")
	if err := conn.Emit("setUserId", map[string]any{}); err != nil { // without an acknowledgement the no comes as an event
		c.Fatal(err)
	}
	c.page(conn, "error")
	if err := conn.Emit("no such event"); err != nil {
		c.Fatal(err)
	}
	c.page(conn, "error")

	// A page that has received nothing is told where it begins.
	fresh, err := sioclient.Dial(c.Context(), sioclient.Options{URL: p.URL})
	if err != nil {
		c.Fatal(err)
	}
	defer fresh.Close()
	if err := fresh.SetUser("fresh", func() {}); err != nil {
		c.Fatal(err)
	}
	c.page(fresh, "bridge:offset")
}

// page reads until an event of that name, and holds all of them against the contract.
func (c *talk) page(conn *sioclient.Conn, until string) {
	for {
		e, err := conn.Read()
		if err != nil {
			c.Errorf("waiting for %s: %v", until, err)
			return
		}
		message, named := map[string]string{"bridge:offset": "Offset", "error": "Error", "connectionId": "ConnectionId", "auth:expiring": "Expiring"}[e.Name]
		if !named {
			message = "Event"
		}
		c.holds(message, e.Args)
		if err := conn.Confirm(e); err != nil {
			c.Error(err)
		}
		if e.Name == until {
			return
		}
	}
}

// deadLetter reads the one that there is.
func (c *talk) deadLetter(nc *nats.Conn) {
	js, err := nc.JetStream()
	if err != nil {
		c.Fatal(err)
	}
	letter, err := js.GetLastMsg("BRIDGE_DEAD", "bridge.dead.invalid_json", nats.Context(c.Context()))
	if err != nil {
		c.Fatal(err)
	}
	header := make(map[string]string)
	for name := range letter.Header {
		header[name] = letter.Header.Get(name)
	}
	text, _ := json.Marshal(header) // texts always encode
	if err := c.doc.JSON(text, "components", "messages", "DeadLetter", "headers"); err != nil || header["Bridge-Original-X-Mine"] != "1" {
		c.Errorf("dead letter: %v", err)
	}
	c.holds("DeadLetter", string(letter.Data))
}

// tokens is what a bridge says where pages have tokens.
func (c *talk) tokens(p *program, secret string) {
	sign := func(ttl string) string {
		out, _ := launch.Command(c.T, cli.Run, exitStopped, "token", "--user", "u", "--ttl", ttl, "--set", secret)
		return strings.TrimSpace(out)
	}
	ws, _, err := websocket.DefaultDialer.DialContext(c.Context(), strings.Replace(p.URL, "http", "ws", 1)+"/socket.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		c.Fatal(err)
	}
	defer func() { _ = ws.Close() }()
	if err := ws.WriteMessage(websocket.TextMessage, []byte("40")); err != nil {
		c.Fatal(err)
	}
	for refused := false; !refused; {
		_, text, err := ws.ReadMessage()
		if err != nil {
			c.Fatal(err)
		}
		var why []byte
		if why, refused = bytes.CutPrefix(text, []byte("44")); refused {
			c.holds("ConnectError", json.RawMessage(why))
		}
	}

	token := sign("3s")
	conn, err := sioclient.Dial(c.Context(), sioclient.Options{URL: p.URL, Token: token})
	if err != nil {
		c.Fatal(err)
	}
	defer conn.Close()
	c.holds("Connect", map[string]any{"resume": true, "token": token})
	c.page(conn, "auth:expiring")
	token = sign("1h")
	c.holds("RefreshToken", []any{token})
	c.holds("RefreshTokenAnswer", c.call(conn, "refreshToken", token)[0])
	c.holds("RefreshTokenAnswer", c.call(conn, "refreshToken", "none")[0])
}

// TestOpenAPIOfARunningBridge: what it serves describes what it answers. The
// gateway's own tests make every status; these come all the way.
func TestOpenAPIOfARunningBridge(t *testing.T) {
	launch.Clean(t)
	natsAddr := launch.FreeAddr(t)
	inside := launch.FreeAddr(t)
	p := startProgram(t, "--set", "nats.embedded.addr="+natsAddr, "--set", "nats.token=secret", "--set", "ops.addr="+inside, "--set", "ops.pprof=true", "--set", "drain.duration=0s")
	defer p.Wait(t)
	desk := &program{&launch.Program{URL: "http://" + inside}}
	docs := make(map[string]*contract.Document)
	for path, at := range map[string]*program{"/openapi.json": p, "/api/v1/openapi.json": desk} {
		_, text := at.Get(path)
		docs[path] = contract.Open(t, []byte(text))
	}
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	conn, err := sioclient.Dial(ctx, sioclient.Options{URL: p.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := &talk{T: t, doc: docs["/openapi.json"]}
	c.call(conn, "setUserId", "u")
	listening := make(chan struct{})
	go func() { // confirms what is to be confirmed
		defer close(listening)
		for e, err := conn.Read(); err == nil; e, err = conn.Read() {
			_ = conn.Confirm(e)
		}
	}()
	defer func() { hangUp(); <-listening }()
	launch.Publish(t, natsAddr, &nats.Msg{Subject: "codewar.t", Data: []byte(`{`)})
	var offset string
	ok := make(map[string]bool) // operations that were seen to work
	for _, tt := range []struct {
		method, path, target, body string
		status                     int
	}{
		{"POST", "/sendPayload", "", `{"userId":"u","topic":"t"}`, 200},
		{"POST", "/sendPayload", "/sendPayload?ack=client", `{"userId":"u","topic":"t","n":1}`, 200},
		{"GET", "/sendPayload", "", `{"userId":"u","topic":"t"}`, 200},
		{"POST", "/sendPayload", "/sendPayload?queue=true", `{"userId":"away","topic":"t"}`, 202},
		{"POST", "/sendPayload", "", `{"userId":"nobody","topic":"t"}`, 404},
		{"POST", "/sendPayload", "", `[]`, 400},
		{"GET", "/socket.io/", "/socket.io/?EIO=4&transport=polling", "", 200},
		{"GET", "/socket.io/{file}", "/socket.io/socket.io.min.js", "", 200},
		{"HEAD", "/socket.io/{file}", "/socket.io/socket.io.min.js", "", 200},
		{"GET", "/livez", "", "", 200},
		{"GET", "/readyz", "", "", 200},
		{"GET", "/openapi.json", "", "", 200},

		{"GET", "/metrics", "", "", 200},
		{"GET", "/messages/{offset}", "/messages/", "", 200},
		{"GET", "/messages/{offset}", "/messages/1-1", "", 404},
		{"GET", "/api/v1/openapi.json", "", "", 200},
		{"GET", "/api/v1/cluster", "", "", 200},
		{"GET", "/api/v1/series", "/api/v1/series?seconds=5", "", 200},
		{"GET", "/api/v1/series", "/api/v1/series?seconds=901", "", 400},
		{"GET", "/api/v1/users", "", "", 200},
		{"GET", "/api/v1/users", "/api/v1/users?limit=0", "", 400},
		{"GET", "/api/v1/users/{id}", "/api/v1/users/u?topic=t", "", 200},
		{"GET", "/api/v1/users/{id}", "/api/v1/users/away", "", 200},
		{"GET", "/api/v1/users/{id}", "/api/v1/users/nobody", "", 200},
		{"GET", "/api/v1/users/{id}", "/api/v1/users/%00", "", 400},
		{"GET", "/api/v1/messages/{offset}", "/api/v1/messages/", "", 200},
		{"GET", "/api/v1/messages/{offset}", "/api/v1/messages/x", "", 400},
		{"GET", "/api/v1/dead", "", "", 200},
		{"POST", "/api/v1/send", "", `{"userId":"u","topic":"t","payload":{"a":1},"ack":true}`, 200},
		{"POST", "/api/v1/send", "", `{"userId":"nobody","topic":"t"}`, 200},
		{"POST", "/api/v1/send", "", `{"userId":"u","topic":"connect"}`, 400},
		{"GET", "/api/v1/logs", "", "", 200},
		{"GET", "/api/v1/logs", "/api/v1/logs?limit=x", "", 400},
		{"GET", "/api/v1/loglevel", "", "", 200},
		{"PUT", "/api/v1/loglevel", "", `{"level":"warn"}`, 200},
		{"PUT", "/api/v1/loglevel", "", `{"level":"loud"}`, 400},
		{"GET", "/console", "", "", 200},
		{"GET", "/console/socket.io/", "/console/socket.io/?EIO=4&transport=polling", "", 200},
		{"GET", "/debug/pprof/{name}", "/debug/pprof/heap?debug=1", "", 200},
	} {
		doc, at := docs["/openapi.json"], p
		if doc.Statuses(tt.method, tt.path) == nil {
			doc, at = docs["/api/v1/openapi.json"], desk
		}
		target := tt.target
		switch {
		case target == "":
			target = tt.path
		case strings.HasSuffix(target, "/messages/"):
			target += offset
			wait.For(t, "the trace", func() bool { status, _ := at.Get(target); return status == http.StatusOK })
		}
		res, body := at.do(t, tt.method, target, tt.body)
		var sent struct{ Offset string }
		if tt.path == "/sendPayload" && json.Unmarshal(body, &sent) == nil && sent.Offset != "" {
			offset = sent.Offset
		}
		if res.StatusCode != tt.status {
			t.Errorf("%s %s: %s %s, want %d", tt.method, target, res.Status, body, tt.status)
		} else if err := doc.Answer(tt.method, tt.path, res, body); err != nil {
			t.Error(err)
		}
		ok[tt.method+" "+tt.path] = true
	}
	slow := []string{"GET /debug/pprof/profile", "GET /debug/pprof/trace", "GET /console/{name}", "POST /console/socket.io/", "POST /socket.io/"}
	for _, doc := range docs {
		for _, operation := range doc.Operations() {
			if !ok[operation] && !slices.Contains(slow, operation) {
				t.Errorf("nobody has asked for %s", operation)
			}
		}
	}
}

// do sends a request with a JSON body.
func (p *program) do(t *testing.T, method, target, body string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, p.URL+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := launch.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, text
}
