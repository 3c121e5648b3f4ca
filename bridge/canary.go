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

// CanaryUser is to whom a node sends its canaries.
func CanaryUser(n NodeID) UserID { return UserID(reservedUsers + n) }

// ReservedUser reports whether a user is the bridge's own: no page may name it, no
// caller may send to it, and it is in no count of users.
func ReservedUser(u UserID) bool { return strings.HasPrefix(string(u), reservedUsers) }

// mostCanaries bounds how many may be away; older ones are forgotten.
const mostCanaries = 64

// A Canary shows that messages arrive. It publishes one after another to a user of
// this node, whose only socket is this process itself: what comes back has gone
// through NATS, the leader, the store and the link to this node. Its age is how
// long ago the newest one that came back was sent. Make one with [NewCanary].
// Safe for concurrent use.
type Canary struct {
	cfg   CanaryConfig
	life  string // tells ours from those of an earlier process of this name, and of other programs
	began time.Time

	mu      sync.Mutex // guards what follows
	n       uint64     // sent so far
	away    map[uint64]trip
	newest  time.Time     // when the newest one that is back was sent; zero: none is
	lasting time.Duration // how long that one took
}

// trip is a canary that is away.
type trip struct {
	sent time.Time
	seq  uint64 // in the stream; zero: not known
}

// CanaryConfig says how often and for whom.
type CanaryConfig struct {
	Node     NodeID
	Interval time.Duration // between two; more than 0
	Limit    time.Duration // the age at which this node is not ready
	// Publish puts the body into the stream under [CanaryTopic], and returns where it is.
	Publish func(ctx context.Context, body []byte) (Offset, error)
	// Leader says up to which sequence the leader has read the stream, as this node has heard from
	// it, and when it last heard that the leader has come further. May be nil.
	Leader func() (read uint64, moved time.Time)
	// Observe is told how long each took; it must not wait. May be nil.
	Observe func(time.Duration)
	Log     *slog.Logger
}

// canaryBody is what a canary carries beside its user.
type canaryBody struct {
	User UserID `json:"userId,omitempty"`
	Life string `json:"life"`
	N    uint64 `json:"n"`
}

// NewCanary makes a canary whose age begins now.
func NewCanary(cfg CanaryConfig) *Canary {
	return &Canary{cfg: cfg, life: rand.Text(), began: time.Now(), away: make(map[uint64]trip)}
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

// next notes that one more is away. One that was not published may be stored all
// the same, so it is not taken back.
func (c *Canary) next(now time.Time) (n uint64, body []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	c.away[c.n] = trip{sent: now}
	delete(c.away, c.n-mostCanaries)
	body, err := json.Marshal(canaryBody{CanaryUser(c.cfg.Node), c.life, c.n})
	if err != nil {
		panic(err) // a canaryBody always encodes
	}
	return c.n, body
}

// stored notes where a canary is in the stream.
func (c *Canary) stored(n, seq uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t, away := c.away[n]; away {
		t.seq = seq
		c.away[n] = t
	}
}

// Back takes the payload of a message to the canary's user. One that this process
// has not sent, or has seen, is nothing.
func (c *Canary) Back(payload []byte) {
	var body canaryBody
	if json.Unmarshal(payload, &body) != nil || body.Life != c.life {
		return
	}
	c.mu.Lock()
	t, away := c.away[body.N]
	if away {
		delete(c.away, body.N)
		if t.sent.After(c.newest) {
			c.newest, c.lasting = t.sent, time.Since(t.sent)
		}
	}
	c.mu.Unlock()
	if away && c.cfg.Observe != nil {
		c.cfg.Observe(time.Since(t.sent))
	}
}

// CanaryState is how a canary is.
type CanaryState struct {
	Age  time.Duration // since the newest that is back was sent or, before the first, since the start
	Last time.Duration // how long that one took; zero: none is back
	OK   bool          // one is back, and young enough, or the next one waits behind messages that move
}

// State is how the canary is at this moment.
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
	return CanaryState{Age: age, Last: c.lasting, OK: age <= c.cfg.Limit || waits}
}

// awaited is the sequence of the first canary that is to be back next, zero when none is known. With
// c.mu held.
func (c *Canary) awaited() (seq uint64) {
	for _, t := range c.away {
		if t.seq > 0 && t.sent.After(c.newest) && (seq == 0 || t.seq < seq) {
			seq = t.seq
		}
	}
	return seq
}

var errNoCanary = errors.New("no message has come back yet")

// Err is nil while messages arrive, or wait behind others that the leader gets on with: a node is
// no less able to serve for a backlog.
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
