package bridge

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// CanaryTopic is the topic of canaries.
const CanaryTopic = "bridge:canary"

// reservedUsers begins the ids of users that are the bridge's own.
const reservedUsers = CanaryTopic + ":"

// CanaryUser is the user of a node's canaries.
func CanaryUser(n NodeID) UserID { return UserID(reservedUsers + n) }

// ReservedUser reports whether a user is the bridge's own: no client may be mapped to it, no
// caller may send to it, and it is not counted as a user.
func ReservedUser(u UserID) bool { return strings.HasPrefix(string(u), reservedUsers) }

// maxCanaries bounds the canaries that have not come back; older ones are forgotten.
const maxCanaries = 64

// Canary shows that messages arrive. It publishes test messages, one after another, to a user of
// this node whose only socket is this process: a message that comes back has gone
// through NATS, the leader, the store and the forward to this node. The age of the canary is the time
// since the newest message that came back was sent. Make one with [NewCanary].
// Safe for concurrent use.
type Canary struct {
	cfg   CanaryConfig
	run   string // identifies this process
	began time.Time

	mu      sync.Mutex // guards all below
	n       uint64     // sent so far
	pending map[uint64]sentCanary
	newest  time.Time     // when the newest one that came back was sent; zero: none
	took    time.Duration // how long that one took
}

// sentCanary is a canary that has not come back.
type sentCanary struct {
	sent time.Time
	seq  uint64 // in the stream; zero: not known
}

// CanaryConfig configures a [Canary].
type CanaryConfig struct {
	Node     NodeID
	Interval time.Duration // between two; more than 0
	Limit    time.Duration // the age at which this node is not ready
	// Publish stores the body in the stream under [CanaryTopic], and returns its offset.
	Publish func(ctx context.Context, body []byte) (Offset, error)
	// Leader returns the sequence up to which the leader has read the stream, by its last beat, and
	// when a beat last had a greater one. May be nil.
	Leader func() (read uint64, moved time.Time)
	// Observe is called with how long each took; it must not wait. May be nil.
	Observe func(time.Duration)
	Log     *slog.Logger
}

// canaryBody is the body of a canary.
type canaryBody struct {
	User UserID `json:"userId,omitempty"`
	Run  string `json:"life"`
	N    uint64 `json:"n"`
}

// NewCanary makes a canary whose age begins now.
func NewCanary(cfg CanaryConfig) *Canary {
	return &Canary{cfg: cfg, run: rand.Text(), began: time.Now(), pending: make(map[uint64]sentCanary)}
}

// Run sends canaries until ctx ends.
func (c *Canary) Run(ctx context.Context) {
	tick := time.NewTicker(c.cfg.Interval)
	defer tick.Stop()
	for {
		n, body := c.next(time.Now())
		at, err := c.cfg.Publish(ctx, body)
		if err != nil && ctx.Err() == nil {
			c.cfg.Log.LogAttrs(ctx, slog.LevelDebug, "canary not published", slog.Any("err", err))
		}
		c.stored(n, at.Seq)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// next counts one more. It stays pending when publishing fails, as it may be stored all the same.
func (c *Canary) next(now time.Time) (n uint64, body []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	c.pending[c.n] = sentCanary{sent: now}
	delete(c.pending, c.n-maxCanaries)
	body, err := json.Marshal(canaryBody{CanaryUser(c.cfg.Node), c.run, c.n})
	if err != nil {
		panic(err) // a canaryBody always encodes
	}
	return c.n, body
}

// stored records the sequence of a canary.
func (c *Canary) stored(n, seq uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.pending[n]; ok {
		s.seq = seq
		c.pending[n] = s
	}
}

// Received handles the payload of a message to the canary's user. It ignores messages that this
// process has not sent, and messages that came back before.
func (c *Canary) Received(payload []byte) {
	var body canaryBody
	if json.Unmarshal(payload, &body) != nil || body.Run != c.run {
		return
	}
	c.mu.Lock()
	s, ok := c.pending[body.N]
	delete(c.pending, body.N)
	if ok && s.sent.After(c.newest) {
		c.newest, c.took = s.sent, time.Since(s.sent)
	}
	c.mu.Unlock()
	if ok && c.cfg.Observe != nil {
		c.cfg.Observe(time.Since(s.sent))
	}
}

// CanaryState is the state of a [Canary].
type CanaryState struct {
	Age  time.Duration // since the newest one that came back was sent or, before the first, since the start
	Last time.Duration // how long that one took; zero: none came back
	OK   bool          // the age is within the limit, or the leader is working on earlier messages
}

// State returns the state at this moment.
func (c *Canary) State() CanaryState {
	var read uint64
	var moved time.Time
	if c.cfg.Leader != nil {
		read, moved = c.cfg.Leader()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	waits := time.Since(moved) <= c.cfg.Limit && c.awaited() > read
	if c.newest.IsZero() {
		return CanaryState{Age: time.Since(c.began), OK: waits}
	}
	age := time.Since(c.newest)
	return CanaryState{Age: age, Last: c.took, OK: age <= c.cfg.Limit || waits}
}

// awaited is the sequence of the next canary to come back, zero when it is not known. Called with
// c.mu held.
func (c *Canary) awaited() (seq uint64) {
	for _, s := range c.pending {
		if s.seq > 0 && s.sent.After(c.newest) && (seq == 0 || s.seq < seq) {
			seq = s.seq
		}
	}
	return seq
}

var errNoCanary = errors.New("no message has come back yet")

// Err is nil while messages arrive, or wait behind others that the leader is working on: a node can
// serve during a backlog.
func (c *Canary) Err() error {
	switch s := c.State(); {
	case s.OK:
		return nil
	case s.Last == 0:
		return errNoCanary
	default:
		return fmt.Errorf("no message came back that was sent in the last %.1f s", s.Age.Seconds())
	}
}
