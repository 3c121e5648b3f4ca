package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// canaryCage is a stream and a socket that can be stalled.
type canaryCage struct {
	*Canary
	mu      sync.Mutex // guards what follows
	seen    []time.Duration
	stalled bool
	held    [][]byte // published while it was
	read    uint64   // by the leader
	moved   time.Time
	seq     uint64 // of the last canary
	lost    bool   // those published while stalled got no answer
}

func (c *canaryCage) stall(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stalled, c.lost = on, true
}

// fall has the leader be behind the next canary, and read on.
func (c *canaryCage) fall(read uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stalled, c.lost, c.read, c.moved = true, false, read, time.Now()
}

// release has what was held come back.
func (c *canaryCage) release() {
	c.mu.Lock()
	held := c.held
	c.stalled, c.held = false, nil
	c.mu.Unlock()
	for _, body := range held {
		c.Received(body)
	}
}

func (c *canaryCage) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.seen)
}

func newCage(t *testing.T) *canaryCage {
	cage := new(canaryCage)
	cage.Canary = NewCanary(CanaryConfig{
		Node: "n", Interval: 2 * time.Second, Limit: 8 * time.Second,
		Publish: func(_ context.Context, body []byte) (Offset, error) {
			cage.mu.Lock()
			stalled, lost := cage.stalled, cage.lost
			if stalled {
				cage.held = append(cage.held, body)
			}
			cage.seq++
			at := Offset{1, cage.seq}
			cage.mu.Unlock()
			if !stalled {
				cage.Received(body)
			} else if lost {
				return Offset{}, errors.New("no answer")
			}
			return at, nil
		},
		Leader: func() (uint64, time.Time) {
			cage.mu.Lock()
			defer cage.mu.Unlock()
			return cage.read, cage.moved
		},
		Observe: func(d time.Duration) {
			cage.mu.Lock()
			defer cage.mu.Unlock()
			cage.seen = append(cage.seen, d)
		},
		Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); cage.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
	return cage
}

func (c *canaryCage) after(t *testing.T, d time.Duration, ok bool) {
	t.Helper()
	time.Sleep(d)
	synctest.Wait()
	if s := c.State(); s.OK != ok || (c.Err() == nil) != ok {
		t.Errorf("state %+v, err %v; want ok %v", s, c.Err(), ok)
	}
}

func TestCanaryDiesAndLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCage(t)
		c.after(t, 0, true)
		c.after(t, time.Hour+time.Second, true)
		if s := c.State(); s.Age != time.Second {
			t.Errorf("age %v, want 1s", s.Age)
		}
		c.stall(true)
		c.after(t, 7*time.Second, true) // the newest is 8 s old
		c.after(t, time.Millisecond, false)
		c.after(t, time.Minute, false)
		c.release()
		c.after(t, 0, true)
		c.after(t, 2*time.Second, true)
		if n := len(c.pending); n != 0 {
			t.Errorf("%d canaries are away", n)
		}
	})
}

// TestCanaryBehindABacklog: a node is ready while the leader comes nearer to its canary, and not when
// the leader has stopped, has passed the canary, or is not heard of.
func TestCanaryBehindABacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCage(t)
		c.after(t, time.Second, true)
		c.mu.Lock()
		first := c.seq
		c.mu.Unlock()
		for range 60 {
			c.fall(first) // it reads what was there before
			c.after(t, time.Second, true)
		}
		c.after(t, 7*time.Second, true)
		c.after(t, 2*time.Second, false) // it stands still
		c.fall(first + 1)
		c.after(t, time.Second, false) // it has passed one that is not back
		c.release()
		c.after(t, 0, true)
	})
}

// TestCanaryOutlivesLeader: a change of leader takes up to five seconds in which
// nothing is read, and must not make every node unready.
func TestCanaryOutlivesLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCage(t)
		time.Sleep(1999 * time.Millisecond) // the worst moment: the next one is about to leave
		c.stall(true)
		for range 5 {
			c.after(t, time.Second, true)
		}
		c.release()
		c.after(t, 0, true)
	})
}

func TestCanaryIgnoresOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCage(t)
		c.stall(true)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		c.mu.Lock()
		away := c.held[0]
		c.mu.Unlock()
		var forged canaryBody
		if err := json.Unmarshal(away, &forged); err != nil {
			t.Fatal(err)
		}
		before := c.count()
		forged.Run = "another"
		body, _ := json.Marshal(forged)
		c.Received(body)
		c.Received([]byte(`{"n":1}`))
		c.Received([]byte(`nonsense`))
		c.Received(nil)
		if c.count() != before {
			t.Errorf("took a message that it has not sent")
		}
		c.Received(away)
		c.Received(away)
		if c.count() != before+1 {
			t.Errorf("counted %d times, want once", c.count()-before)
		}
	})
}

// TestCanariesAreBounded: a NATS that is away for ever costs no memory.
func TestCanariesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCage(t)
		c.stall(true)
		c.after(t, time.Hour, false)
		if n := len(c.pending); n != maxCanaries {
			t.Errorf("%d are remembered, want %d", n, maxCanaries)
		}
	})
}

func TestReservedUsers(t *testing.T) {
	t.Parallel()
	mine := string(CanaryUser("node-1"))
	if !ValidUserID(mine) || !ValidTopic(CanaryTopic) || !ReservedUser(UserID(mine)) {
		t.Errorf("%q on %q is not fit to be published", mine, CanaryTopic)
	}
	quoted, _ := json.Marshal(mine)
	if _, err := ParseUserID(quoted); !isInvalid(err, CodeInvalidUserID) {
		t.Errorf("a page may name %q: %v", mine, err)
	}
	if _, err := DecodeRequest([]byte(`{"topic":"t","userId":` + string(quoted) + `}`)); !isInvalid(err, CodeInvalidUserID) {
		t.Errorf("a caller may send to %q: %v", mine, err)
	}
	for _, free := range []string{"bridge", "bridge:canary", "Bridge:canary:x"} {
		quoted, _ := json.Marshal(free)
		if _, err := ParseUserID(quoted); err != nil {
			t.Errorf("%q: %v", free, err)
		}
	}
}

func isInvalid(err error, code string) bool {
	invalid, ok := errors.AsType[*InvalidError](err)
	return ok && invalid.Code == code
}
