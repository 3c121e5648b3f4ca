// Package siotest drives the official JavaScript client, socket.io-client, from
// Go tests. It needs node and the packages of the repository's e2e directory (`npm ci`
// there); without them a test is skipped, or fails when CI is set.
package siotest

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/codewar/socketbridge/internal/testutil/npm"
)

//go:embed client.js
var script string

// wait is how long a test waits for what should happen.
const wait = 15 * time.Second

// Options are those of the client's `io(url, options)` that tests use. Zero
// values leave the client's defaults: polling first, then an upgrade.
type Options struct {
	Transports []string       `json:"transports,omitempty"`
	Upgrade    *bool          `json:"upgrade,omitempty"`
	Auth       map[string]any `json:"auth,omitempty"`
	Path       string         `json:"path,omitempty"`
	// CA is the PEM text of an authority to trust.
	CA string `json:"ca,omitempty"`
	// ExtraHeaders go with each request; node, unlike a browser, sends any.
	ExtraHeaders map[string]string `json:"extraHeaders,omitempty"`
	// PerMessageDeflate says whether compression is offered on websocket; the client's default is yes.
	PerMessageDeflate *bool `json:"perMessageDeflate,omitempty"`
	// Reconnection set to false keeps the client from coming back by itself.
	Reconnection *bool `json:"reconnection,omitempty"`
}

// Message is something that happened to a client.
type Message struct {
	Client int    `json:"client"`
	Type   string `json:"type"` // connect, disconnect, connect_error, upgrade, event, ack

	ID        string `json:"id"`        // connect: socket.id
	PID       string `json:"pid"`       // connect: the private id that it presents to resume
	Recovered bool   `json:"recovered"` // connect: socket.recovered
	Transport string `json:"transport"` // connect, upgrade
	Reason    string `json:"reason"`    // disconnect, connect_error
	Code      string `json:"code"`      // connect_error: error.data.code
	Status    int    `json:"status"`    // connect_error: of the HTTP answer that refused the handshake

	Name string            `json:"name"` // event
	Args []json.RawMessage `json:"args"` // event, ack: as JSON.stringify writes them
	// Raw is the text of an event's packet as it came off the wire, for
	// comparisons byte by byte: `2["topic",{"n":1.50},"offset"]`.
	Raw      string `json:"raw"`
	WantsAck bool   `json:"wantsAck"` // event: it was acknowledged with its own arguments

	Call int `json:"call"` // ack: which call it answers

	At time.Time `json:"-"` // when the test heard of it
}

// Node is a node process that runs clients.
type Node struct {
	t     testing.TB
	stdin io.WriteCloser

	mu      sync.Mutex // guards what follows, and writes to stdin
	clients []*Client
	calls   int
}

// Client is one JavaScript client. Its methods that wait fail the test when
// nothing happens for 15 s. Each message is returned once.
type Client struct {
	node *Node
	n    int

	mu      sync.Mutex // guards what follows
	got     []Message
	changed chan struct{} // closed and replaced when got grows
}

// Start runs a node process for the time of the test.
func Start(t testing.TB) *Node {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	modules := filepath.Join(filepath.Dir(here), "..", "..", "e2e")
	if _, err := exec.LookPath("node"); err != nil {
		missing(t, "node is not installed")
	}
	npm.Need(t, modules)
	file := filepath.Join(t.TempDir(), "client.js")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", file, modules)
	cmd.Stderr = t.Output()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start node: %v", err)
	}
	n := &Node{t: t, stdin: stdin}
	read := make(chan struct{})
	go func() {
		defer close(read)
		n.read(stdout)
	}()
	t.Cleanup(func() {
		_ = stdin.Close() // the script exits
		<-read
		if err := cmd.Wait(); err != nil {
			t.Errorf("node: %v", err)
		}
	})
	return n
}

func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// Dial starts a node process with one client and waits until it has connected.
func Dial(t testing.TB, url string, opts Options) *Client {
	t.Helper()
	c := Start(t).Dial(url, opts)
	c.Connected()
	return c
}

// Dial makes a client. It does not wait: see [Client.Connected].
func (n *Node) Dial(url string, opts Options) *Client {
	n.t.Helper()
	n.mu.Lock()
	c := &Client{node: n, n: len(n.clients), changed: make(chan struct{})}
	n.clients = append(n.clients, c)
	n.mu.Unlock()
	c.command("connect", map[string]any{"url": url, "options": opts})
	return c
}

// read hands each message to its client until the process ends.
func (n *Node) read(stdout io.Reader) {
	lines := bufio.NewReader(stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var m Message
		if err := json.Unmarshal(line, &m); err != nil {
			n.t.Errorf("node says %.200q: %v", line, err)
			continue
		}
		m.At = time.Now()
		n.mu.Lock()
		c := n.clients[m.Client]
		n.mu.Unlock()
		c.add(m)
	}
}

func (c *Client) add(m Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, m)
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *Client) command(do string, with map[string]any) {
	c.node.t.Helper()
	if with == nil {
		with = map[string]any{}
	}
	with["do"], with["client"] = do, c.n
	line, err := json.Marshal(with)
	if err != nil {
		c.node.t.Fatal(err)
	}
	c.node.mu.Lock()
	defer c.node.mu.Unlock()
	if _, err := c.node.stdin.Write(append(line, '\n')); err != nil {
		c.node.t.Errorf("tell node to %s: %v", do, err)
	}
}

// Wait waits until state, called with every message that was not taken yet,
// returns "". The test fails with the last state when nothing more is heard for 15 s.
// The messages are read-only and good only during the call.
func (c *Client) Wait(what string, state func(all []Message) string) {
	c.node.t.Helper()
	for {
		c.mu.Lock()
		last, changed := state(c.got), c.changed
		c.mu.Unlock()
		if last == "" {
			return
		}
		select {
		case <-changed:
		case <-time.After(wait):
			c.node.t.Fatalf("client %d waited in vain for %s: %s", c.n, what, last)
		}
	}
}

// next waits for the first message that fits and takes it out.
func (c *Client) next(what string, fits func(Message) bool) (m Message) {
	c.node.t.Helper()
	c.Wait(what, func(all []Message) string {
		i := slices.IndexFunc(all, fits)
		if i < 0 {
			return fmt.Sprintf("there are only %+v", all)
		}
		m = all[i]
		c.got = slices.Delete(c.got, i, i+1)
		return ""
	})
	return m
}

func ofType(typ string) func(Message) bool { return func(m Message) bool { return m.Type == typ } }

// Connected waits for the client's next `connect`.
func (c *Client) Connected() Message {
	c.node.t.Helper()
	return c.next("connect", ofType("connect"))
}

// Disconnected waits for the next `disconnect`, whose reason is its Reason.
func (c *Client) Disconnected() Message {
	c.node.t.Helper()
	return c.next("disconnect", ofType("disconnect"))
}

// Refused waits for the next `connect_error` and returns its message.
func (c *Client) Refused() string {
	c.node.t.Helper()
	return c.Refusal().Reason
}

// Refusal is Refused with all there is to know of it.
func (c *Client) Refusal() Message {
	c.node.t.Helper()
	return c.next("connect_error", ofType("connect_error"))
}

// Upgraded waits until the client has changed its transport.
func (c *Client) Upgraded() Message {
	c.node.t.Helper()
	return c.next("upgrade", ofType("upgrade"))
}

// Event waits for the next event, in the order of arrival.
func (c *Client) Event() Message {
	c.node.t.Helper()
	return c.next("event", ofType("event"))
}

// EventNamed waits for the next event of that name.
func (c *Client) EventNamed(name string) Message {
	c.node.t.Helper()
	return c.next("event "+name, func(m Message) bool { return m.Type == "event" && m.Name == name })
}

// Pending returns the events that have arrived and were not taken yet. It does not wait.
func (c *Client) Pending() (events []Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.got {
		if m.Type == "event" {
			events = append(events, m)
		}
	}
	return events
}

// Emit has the client emit an event.
func (c *Client) Emit(name string, args ...any) {
	c.node.t.Helper()
	c.command("emit", map[string]any{"name": name, "args": list(args)})
}

// EmitWithAck has the client emit an event and returns what the server acknowledges.
func (c *Client) EmitWithAck(name string, args ...any) []json.RawMessage {
	c.node.t.Helper()
	c.node.mu.Lock()
	c.node.calls++
	call := c.node.calls
	c.node.mu.Unlock()
	c.command("emitWithAck", map[string]any{"name": name, "args": list(args), "call": call})
	return c.next("ack of "+name, func(m Message) bool { return m.Type == "ack" && m.Call == call }).Args
}

// list makes sure that no arguments are an empty list in JSON, not null.
func list(args []any) []any { return append([]any{}, args...) }

// Disconnect leaves for good, as `socket.disconnect()` does; Reconnect comes back.
func (c *Client) Disconnect() { c.command("disconnect", nil) }

// Reconnect is `socket.connect()`.
func (c *Client) Reconnect() { c.command("reconnect", nil) }

// Auth has the client present this from its next connection on.
func (c *Client) Auth(auth map[string]any) { c.command("auth", map[string]any{"auth": auth}) }

// Drop closes the connection under the client, which comes back by itself.
func (c *Client) Drop() { c.command("drop", nil) }
