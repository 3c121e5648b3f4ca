package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/codewar/socketbridge/internal/sioclient"
)

const (
	users = 200
	rate  = 500 // messages a second, of all users together
)

// crowd is the users who behave, and their publisher.
type crowd struct {
	publisher *nats.Conn
	users     [users]*user
	readers   sync.WaitGroup
	leaving   chan struct{}

	mu     sync.Mutex // guards what follows
	took   []time.Duration
	errors []string
}

// user is one of them. Its sequence numbers begin at 1.
type user struct {
	name   string
	conn   *sioclient.Conn
	sent   int // owned by the publisher
	mu     sync.Mutex
	got    int
	mapped chan struct{} // closed when the bridge knows the user
}

// note is what a message says.
type note struct {
	Seq int   `json:"seq"`
	At  int64 `json:"at"` // ns since epoch
}

// connectUsers connects every third user to the guarded bridge, the others to the open one.
func connectUsers(ctx context.Context, at *cluster) (*crowd, error) {
	nc, err := at.connect("publisher")
	if err != nil {
		return nil, err
	}
	c := &crowd{publisher: nc, leaving: make(chan struct{})}
	for i := range c.users {
		name := fmt.Sprint("good-", i)
		o := sioclient.Options{URL: "http://" + at.open.addr, Header: http.Header{"X-Forwarded-For": {fmt.Sprintf("198.51.100.%d", i)}}}
		if i%3 == 0 {
			o.URL = "http://" + at.guarded.addr
			if o.Token, err = at.token(name); err != nil {
				return nil, err
			}
		}
		conn, err := sioclient.Dial(ctx, o)
		if err != nil {
			return nil, fmt.Errorf("connect user %d: %w", i, err)
		}
		u := &user{name: name, conn: conn, mapped: make(chan struct{})}
		if err := conn.SetUser(u.name, func() { close(u.mapped) }); err != nil {
			return nil, fmt.Errorf("register user %d: %w", i, err)
		}
		c.users[i] = u
		c.readers.Go(func() { c.read(u) })
		select {
		case <-u.mapped:
		case <-time.After(10 * time.Second):
			return nil, fmt.Errorf("user %d is not registered", i)
		}
	}
	return c, nil
}

func (c *crowd) leave() {
	close(c.leaving)
	for _, u := range c.users {
		u.conn.Close()
	}
	c.readers.Wait()
	c.publisher.Close()
}

func (c *crowd) wrong(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.errors) < 20 {
		c.errors = append(c.errors, fmt.Sprintf(format, args...))
	}
}

// wrongs says what the users saw that they must not have.
func (c *crowd) wrongs() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.errors)
}

// read is one user's life: there is one connection, and it must last.
func (c *crowd) read(u *user) {
	for {
		e, err := u.conn.Read()
		if err != nil {
			select {
			case <-c.leaving:
			default:
				c.wrong("%s lost its connection: %v", u.name, err)
			}
			return
		}
		switch e.Name {
		case "note":
			c.received(u, e.Args)
		case "bridge:offset":
		default:
			c.wrong("%s got %s %.100s", u.name, e.Name, e.Args)
		}
	}
}

func (c *crowd) received(u *user, args []json.RawMessage) {
	now := time.Now().UnixNano()
	var n note
	if len(args) == 0 || json.Unmarshal(args[0], &n) != nil {
		c.wrong("%s got %.100s", u.name, args)
		return
	}
	u.mu.Lock()
	if n.Seq != u.got+1 {
		c.wrong("%s got message %d after %d", u.name, n.Seq, u.got)
	}
	u.got = n.Seq
	u.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.took = append(c.took, time.Duration(now-n.At))
}

// settle publishes until every history is full, so that memory stands still.
func (c *crowd) settle(ctx context.Context) error {
	_, err := c.measure(ctx, 15*users*time.Second/rate)
	return err
}

// latencies is the time from publishing to receiving.
type latencies struct {
	n              int
	p50, p99, most time.Duration
}

// measure publishes for that long and waits until everything has arrived.
func (c *crowd) measure(ctx context.Context, during time.Duration) (l latencies, err error) {
	c.mu.Lock()
	c.took = nil
	c.mu.Unlock()
	tick := time.NewTicker(time.Second / rate)
	defer tick.Stop()
	began := time.Now()
	for n := 0; time.Since(began) < during; n++ {
		u := c.users[n%users]
		u.sent++
		body := fmt.Appendf(nil, `{"userId":%q,"seq":%d,"at":%d}`, u.name, u.sent, time.Now().UnixNano())
		if err := c.publisher.Publish("codewar.note", body); err != nil {
			return l, fmt.Errorf("publish: %w", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return l, context.Cause(ctx)
		}
	}
	err = waitFor(ctx, 10*time.Second, func() string {
		for _, u := range c.users {
			u.mu.Lock()
			got := u.got
			u.mu.Unlock()
			if got < u.sent {
				return fmt.Sprintf("%s has %d of %d messages", u.name, got, u.sent)
			}
		}
		return ""
	})
	if err != nil {
		return l, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.Sort(c.took)
	at := func(part float64) time.Duration { return c.took[int(part*float64(len(c.took)-1))] }
	return latencies{len(c.took), at(0.5), at(0.99), at(1)}, nil
}
