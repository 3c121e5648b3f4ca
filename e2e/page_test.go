package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// page is a browser page of a test: one stock socket.io-client, in a Node process
// that all pages of the package share.
type page struct {
	t  testing.TB
	id int

	mu      sync.Mutex // guards what follows
	changed chan struct{}
	connect []said // in order
	ends    []string
	events  []said
	acks    map[int]said
}

// said is one line of the driver.
type said struct {
	Page      int               `json:"page"`
	Kind      string            `json:"kind"`
	ID        string            `json:"id"`
	Recovered bool              `json:"recovered"`
	Transport string            `json:"transport"`
	Reason    string            `json:"reason"`
	Event     string            `json:"event"`
	Args      []json.RawMessage `json:"args"`
	Text      string            `json:"text"` // `["event",payload,"offset"]` as it came
	Call      int               `json:"call"`
	Answer    []json.RawMessage `json:"answer"`
	at        time.Time
}

// driver is the Node process.
type driver struct {
	in io.WriteCloser

	mu    sync.Mutex // guards what follows, and writes to in
	pages map[int]*page
	calls int
}

// browsers starts the driver once; it ends with the test process.
var browsers = sync.OnceValues(func() (*driver, error) {
	if _, err := os.Stat("node_modules/socket.io-client"); err != nil {
		return nil, fmt.Errorf("socket.io-client is not installed, run npm ci in e2e: %w", err)
	}
	cmd := exec.Command("node", "driver.mjs")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	d := &driver{in: in, pages: make(map[int]*page)}
	stopDriver = func() {
		_ = in.Close() // the driver ends when it has read all commands
		_ = cmd.Wait()
	}
	go d.listen(out)
	return d, nil
})

// stopDriver is set once the driver runs.
var stopDriver = func() {}

func (d *driver) listen(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var s said
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			panic(fmt.Sprintf("driver said %q: %v", lines.Text(), err))
		}
		s.at = time.Now()
		d.mu.Lock()
		p := d.pages[s.Page]
		d.mu.Unlock()
		p.hear(s)
	}
}

func (d *driver) do(command map[string]any) {
	b, err := json.Marshal(command)
	if err != nil {
		panic(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.in.Write(append(b, '\n')); err != nil {
		panic(err)
	}
}

func (d *driver) number() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls++
	return d.calls
}

// open opens a page and waits until it is connected.
func open(t testing.TB, url string, transports []string, auth ...map[string]any) *page {
	t.Helper()
	d, err := browsers()
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	p := &page{t: t, id: d.number(), changed: make(chan struct{}), acks: make(map[int]said)}
	d.mu.Lock()
	d.pages[p.id] = p
	d.mu.Unlock()
	options := map[string]any{"transports": transports}
	if len(auth) > 0 {
		options["auth"] = auth[0]
	}
	p.do(map[string]any{"do": "open", "url": url, "options": options})
	t.Cleanup(p.close)
	p.wait("connected", func() string { return missing(len(p.connect) > 0, "no connect event") })
	return p
}

func (p *page) do(command map[string]any) {
	d, _ := browsers()
	command["page"] = p.id
	d.do(command)
}

func (p *page) hear(s said) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch s.Kind {
	case "connect":
		p.connect = append(p.connect, s)
	case "disconnect":
		p.ends = append(p.ends, s.Reason)
	case "event":
		p.events = append(p.events, s)
	case "ack":
		p.acks[s.Call] = s
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// wait waits until state, called with p.mu held, returns "".
func (p *page) wait(what string, state func() string) {
	p.t.Helper()
	timeout := time.After(60 * time.Second)
	for {
		p.mu.Lock()
		last, changed := state(), p.changed
		p.mu.Unlock()
		if last == "" {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			p.t.Fatalf("page waited in vain until %s: %s", what, last)
		}
	}
}

func missing(ok bool, state string) string {
	if ok {
		return ""
	}
	return state
}

// call emits an event and returns what its acknowledgement carries.
func (p *page) call(event string, args ...any) map[string]any {
	p.t.Helper()
	d, _ := browsers()
	n := d.number()
	p.do(map[string]any{"do": "emit", "call": n, "event": event, "args": args})
	p.wait(event+" is acknowledged", func() string { return missing(p.acks[n].Kind != "", "no answer") })
	p.mu.Lock()
	defer p.mu.Unlock()
	if ack := p.acks[n]; ack.Reason != "" || len(ack.Answer) != 1 {
		p.t.Fatalf("%s: %s %s", event, ack.Reason, ack.Answer)
	}
	var answer map[string]any
	if err := json.Unmarshal(p.acks[n].Answer[0], &answer); err != nil {
		p.t.Fatal(err)
	}
	return answer
}

// setUser maps the page to a user and returns the offset it begins at.
func (p *page) setUser(user string, options ...any) (offset string) {
	p.t.Helper()
	answer := p.call("setUserId", append([]any{user}, options...)...)
	if answer["ok"] != true {
		p.t.Fatalf("setUserId(%s): %v", user, answer)
	}
	return answer["offset"].(string)
}

// of returns the events of a topic. With p.mu held.
func (p *page) of(topic string) []said {
	var out []said
	for _, e := range p.events {
		if e.Event == topic {
			out = append(out, e)
		}
	}
	return out
}

// waitFor waits for an event with exactly this payload, byte for byte.
func (p *page) waitFor(topic, payload string) {
	p.t.Helper()
	p.wait(topic+" arrives", func() string {
		events := p.of(topic)
		if len(events) == 0 {
			return "nothing came"
		}
		text := events[0].Text
		want := fmt.Sprintf(`[%q,%s,"`, topic, payload)
		if !strings.HasPrefix(text, want) {
			p.t.Fatalf("got %s, want %s…", text, want)
		}
		return ""
	})
}

// waitCount waits for that many events.
func (p *page) waitCount(topic string, n int) {
	p.t.Helper()
	p.wait(fmt.Sprint(n, " of ", topic), func() string {
		got := len(p.of(topic))
		return missing(got >= n, fmt.Sprint("got ", got))
	})
}

// wantNumbers waits for the messages {"n":from} to {"n":to-1} and checks that
// nothing else came, nothing twice, and all in order.
func (p *page) wantNumbers(topic string, from, to int) {
	p.t.Helper()
	p.waitCount(topic, to-from)
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, e := range p.of(topic) {
		var payload struct{ N int }
		if err := json.Unmarshal(e.Args[0], &payload); err != nil {
			p.t.Fatal(err)
		}
		if payload.N != from+i || i >= to-from {
			p.t.Fatalf("message %d of %s is %s, want number %d of %d to %d", i, topic, e.Args[0], from+i, from, to-1)
		}
	}
}

// wantOnly checks that no event but one of each of these has come.
func (p *page) wantOnly(topics ...string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	var got []string
	for _, e := range p.events {
		if !strings.HasPrefix(e.Event, "bridge:") {
			got = append(got, e.Event)
		}
	}
	slices.Sort(got)
	slices.Sort(topics)
	if !slices.Equal(got, topics) {
		p.t.Errorf("got events %v, want %v", got, topics)
	}
}

// longestSilence is the longest time between two events of a topic.
func (p *page) longestSilence(topic string) (longest time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	events := p.of(topic)
	for i := 1; i < len(events); i++ {
		longest = max(longest, events[i].at.Sub(events[i-1].at))
	}
	return longest
}

func (p *page) waitDisconnected() {
	p.t.Helper()
	p.wait("disconnected", func() string { return missing(len(p.ends) > 0, "still connected") })
}

// cut breaks the page's connection and waits until it is back.
func (p *page) cut() (recovered bool) {
	p.t.Helper()
	p.mu.Lock()
	before := len(p.connect)
	p.mu.Unlock()
	p.do(map[string]any{"do": "cut"})
	p.wait("reconnected", func() string { return missing(len(p.connect) > before, "not yet") })
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.connect[len(p.connect)-1].Recovered
}

func (p *page) close() { p.do(map[string]any{"do": "close"}) }
