package clients

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// patience is how long a cell waits for what has to happen.
const patience = 20 * time.Second

// server is what clients connect to.
type server struct {
	name   string
	addr   string // of clients: the server's, or a proxy's in front of it
	api    string // of HTTP callers
	newest bool   // only the newest socket of a user gets messages, as in the Node service
	nats   *nats.Conn
}

// cell is one client on one transport at one server.
type cell struct {
	server *server
	client client
	cutter *cutter
	driver driver
	user   string
	n      int // the last message's number
	calls  int

	mu      sync.Mutex // guards what follows
	tabs    map[string]*tab
	newest  map[string]*tab // by user: the tab that was mapped last, while it is connected
	changed chan struct{}   // closed and replaced when a driver has told something
}

// tab is one socket of the client. Its cell's mu guards it.
type tab struct {
	cell     *cell
	name     string
	user     string // that it is mapped to
	asks     bool   // it has asked for the cursor as an argument, and presents it itself
	cursor   string // the last one, when it asks
	id       string // of its socket; "" while it has none
	connects int
	refused  string                    // why its last attempt to connect failed
	answers  map[int][]json.RawMessage // by call
	ids      []string                  // that connectionId has told, in order
	owed     []int
	shown    []int
	trouble  []string // what it showed that is no message of its user
}

// payload is what messages carry.
type payload struct {
	N   int    `json:"n"`
	For string `json:"for"`
}

// hear takes in what the driver tells.
func (c *cell) hear(m message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tabs[m.Tab]
	switch m.Type {
	case "connect":
		t.id = m.ID
		t.connects++
	case "disconnect":
		t.id = ""
		if c.newest[t.user] == t {
			delete(c.newest, t.user)
		}
	case "refused":
		t.refused = m.Reason
	case "ack":
		t.answers[m.Call] = m.Args
	case "event":
		t.show(m)
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

func (t *tab) show(m message) {
	if strings.HasPrefix(m.Name, "bridge:") {
		return // the bridge's own, which applications do not listen to
	}
	if len(m.Args) == 0 {
		t.trouble = append(t.trouble, m.Name+" without an argument")
		return
	}
	switch m.Name {
	case "connectionId":
		var id string
		_ = json.Unmarshal(m.Args[0], &id) // null is ""
		t.ids = append(t.ids, id)
	case "tick":
		var p payload
		if err := json.Unmarshal(m.Args[0], &p); err != nil {
			t.trouble = append(t.trouble, fmt.Sprintf("the handler gets %s", m.Args[0]))
			return
		}
		if p.For != t.user {
			t.trouble = append(t.trouble, "a message of "+p.For)
		}
		if t.asks && (len(m.Args) != 2 || json.Unmarshal(m.Args[1], &t.cursor) != nil) {
			t.trouble = append(t.trouble, fmt.Sprintf("no cursor: the handler gets %s", m.Args))
		}
		t.shown = append(t.shown, p.N)
	default:
		t.trouble = append(t.trouble, fmt.Sprintf("%s %s", m.Name, m.Args[0]))
	}
}

// until waits until state, called with mu held, returns "".
func (c *cell) until(what string, state func() string) error {
	deadline := time.After(patience)
	for {
		c.mu.Lock()
		last, changed := state(), c.changed
		c.mu.Unlock()
		if last == "" {
			return nil
		}
		select {
		case <-changed:
		case <-deadline:
			return fmt.Errorf("%s: %s", what, last)
		}
	}
}

// open opens a tab with an auth, which may be nil, and waits until it is connected. One that
// asks for cursors is of a client that does not resume by itself.
func (c *cell) open(name, url string, auth map[string]any) (*tab, error) {
	t := &tab{cell: c, name: name, asks: auth["resume"] == true && !c.server.newest, answers: make(map[int][]json.RawMessage)}
	c.mu.Lock()
	c.tabs[name] = t
	c.mu.Unlock()
	if c.server.newest {
		auth = nil // the Node service knows none
	}
	if err := c.driver.do(command{Do: "open", Tab: name, URL: url, Transports: c.client.transports, Auth: auth}); err != nil {
		return nil, err
	}
	return t, t.connected(1)
}

// connected waits for the tab's n-th connection, or a later one.
func (t *tab) connected(n int) error {
	return t.cell.until(t.name+" connects", func() string {
		if t.connects < n || t.id == "" {
			return fmt.Sprintf("it has connected %d times, last refused: %s", t.connects, t.refused)
		}
		return ""
	})
}

// call emits an event and returns what the server acknowledges.
func (t *tab) call(do, name string, args ...any) (answer []json.RawMessage, err error) {
	t.cell.calls++
	call := t.cell.calls
	if err := t.cell.driver.do(command{Do: do, Tab: t.name, Name: name, Args: args, Call: call}); err != nil {
		return nil, err
	}
	err = t.cell.until(do+" "+name+" is answered", func() string {
		got, ok := t.answers[call]
		if !ok {
			return "no answer"
		}
		answer = got
		return ""
	})
	return answer, err
}

// setUser maps the tab, again after each connection. A tab that asks says how far it is.
func (t *tab) setUser(user string) error {
	t.cell.mu.Lock()
	args := []any{user}
	if t.asks && t.user == user {
		args = append(args, map[string]string{"after": t.cursor})
	}
	t.user, t.cell.newest[user] = user, t
	t.cell.mu.Unlock()
	answer, err := t.call("emit", "setUserId", args...)
	if err != nil {
		return err
	}
	var body struct {
		OK     bool
		Offset string
	}
	if len(answer) != 1 || json.Unmarshal(answer[0], &body) != nil || !body.OK {
		return fmt.Errorf("setUserId is answered %s", answer)
	}
	t.cell.mu.Lock()
	defer t.cell.mu.Unlock()
	if len(args) == 1 {
		t.cursor = body.Offset // the events after it have another
	}
	return nil
}

// quiet waits until everything that the server has sent has arrived: with the acknowledgement of
// an event also the cursor that comes in an event of its own.
func (t *tab) quiet(user string) error {
	if t.cell.server.newest { // the Node service acknowledges nothing
		_, err := t.roundTrip(user)
		return err
	}
	_, err := t.call("emit", "getConnectionId", user)
	return err
}

// roundTrip asks for the user's newest socket. Once it is told, everything that the
// server sent before has arrived.
func (t *tab) roundTrip(user string) (id string, err error) {
	t.cell.mu.Lock()
	before := len(t.ids)
	t.cell.mu.Unlock()
	if err := t.cell.driver.do(command{Do: "emit", Tab: t.name, Name: "getConnectionId", Args: []any{user}}); err != nil {
		return "", err
	}
	err = t.cell.until("connectionId", func() string {
		if len(t.ids) == before {
			return "is not told"
		}
		id = t.ids[len(t.ids)-1]
		return ""
	})
	return id, err
}

// publish sends that many messages to a user over NATS, which the tabs have to show.
func (c *cell) publish(user string, count int, tabs ...*tab) error {
	for range count {
		c.owe(tabs)
		if err := c.server.nats.Publish("codewar.tick", c.body(user, false)); err != nil {
			return err
		}
	}
	return c.server.nats.Flush()
}

// post sends a message to a user over HTTP, which the tabs have to show.
func (c *cell) post(query, user string, tabs ...*tab) (status int, err error) {
	c.owe(tabs)
	return c.postBody(query, c.body(user, true))
}

func (c *cell) postBody(query string, body []byte) (status int, err error) {
	res, err := caller.Post(c.server.api+"/sendPayload"+query, "application/json", strings.NewReader(string(body)))
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}

var caller = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}

// owe notes that the tabs have to show the next message.
func (c *cell) owe(tabs []*tab) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	for _, t := range tabs {
		t.owed = append(t.owed, c.n)
	}
}

func (c *cell) body(user string, withTopic bool) []byte {
	body := map[string]any{"userId": user, "n": c.n, "for": user}
	if withTopic {
		body["topic"] = "tick"
	}
	text, _ := json.Marshal(body) // of strings and numbers
	return text
}

// settle is sync for the tabs of one user, and the account since the last one.
func (c *cell) settle(user string, tabs ...*tab) (account, error) {
	if err := c.sync(user, tabs...); err != nil {
		return account{}, err
	}
	return c.account()
}

// sync sends one more message and waits until everything before it must have arrived.
func (c *cell) sync(user string, tabs ...*tab) error {
	if err := c.publish(user, 1, tabs...); err != nil {
		return err
	}
	c.mu.Lock()
	newest := c.newest[user]
	c.mu.Unlock()
	// Where only the newest gets messages, its own tells that the others will get none.
	slices.SortFunc(tabs, func(a, _ *tab) int {
		if a == newest {
			return -1
		}
		return 1
	})
	for _, t := range tabs {
		if c.server.newest && t != newest {
			if _, err := t.roundTrip(user); err != nil {
				return err
			}
			continue
		}
		// A time-out is seen in the account.
		_ = c.until("the last message", func() string {
			if len(t.shown) == 0 || t.shown[len(t.shown)-1] != c.n {
				return "is not shown"
			}
			return ""
		})
	}
	return nil
}

// account is what all tabs had to show and have shown since the last one.
func (c *cell) account() (sum account, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var trouble []string
	for _, t := range c.tabs {
		sum = sum.add(judge(t.owed, t.shown))
		trouble = append(trouble, t.trouble...)
		t.owed, t.shown, t.trouble = nil, nil, nil
	}
	if len(trouble) > 0 {
		err = fmt.Errorf("%d times, first: %s", len(trouble), trouble[0])
	}
	return sum, err
}

// retry repeats what fails until it does not, after a pause each time.
func retry(pause time.Duration, do func() error) error {
	deadline, tick := time.After(patience), time.NewTicker(pause)
	defer tick.Stop()
	for {
		err := do()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-deadline:
			return err
		}
	}
}

// run goes through all steps and returns what became of each that was reached.
func (c *cell) run() (results []result) {
	cut, err := newCutter(c.server.addr)
	if err != nil {
		return []result{{step: "start", err: err}}
	}
	defer cut.close()
	c.cutter, c.tabs, c.newest, c.changed = cut, make(map[string]*tab), make(map[string]*tab), make(chan struct{})
	if c.driver, err = c.client.start(c, cut); err != nil {
		return []result{{step: "start", err: err}}
	}
	for _, s := range steps {
		a, err := s.do(c)
		results = append(results, result{s.name, a, err})
		if stop, ok := errors.AsType[*stopError](err); ok {
			results[len(results)-1].err = stop.err
			break
		}
	}
	if err := c.driver.close(); err != nil {
		results = append(results, result{step: "end", err: err})
	}
	return results
}

// result is what became of a step.
type result struct {
	step    string
	account account
	err     error
}

func (r result) ok() bool { return r.err == nil && r.account.ok() }

func (r result) String() string {
	switch {
	case r.err == nil:
		return r.step + ": " + r.account.String()
	case r.account.ok():
		return r.step + ": " + r.err.Error()
	}
	return r.step + ": " + r.account.String() + "; " + r.err.Error()
}

// stopError means that the steps after this one make no sense.
type stopError struct{ err error }

func (e *stopError) Error() string { return e.err.Error() }

func stop(err error) error {
	if err == nil {
		return nil
	}
	return &stopError{err}
}
