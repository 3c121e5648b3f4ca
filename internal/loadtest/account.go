package loadtest

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/codewar/socketbridge/internal/sioclient"
)

// account is what was sent and what came. Safe for concurrent use.
type account struct {
	epoch time.Time

	mu     sync.Mutex // guards what follows
	users  []sequence
	total  Result
	moment time.Time // when something last came
}

func newAccount(users int) *account {
	a := &account{epoch: time.Now(), users: make([]sequence, users)}
	a.total.Users = users
	a.total.Latency = hdrhistogram.New(int64(time.Microsecond), int64(time.Minute), 3)
	return a
}

// since is a time as messages carry it.
func (a *account) since(t time.Time) int64 { return int64(t.Sub(a.epoch)) }

// sequence is one user's messages, which are numbered from 1.
type sequence struct {
	last    uint64          // the greatest that came
	unsure  map[uint64]bool // could not be published, or so it was said
	sent    uint64          // the greatest that was published
	missing map[uint64]bool // less than last, and have not come
}

// published notes what became of publishing.
func (a *account) published(d due, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := &a.users[d.user]
	s.sent = max(s.sent, d.n)
	if err == nil {
		a.total.Published++
		return
	}
	if s.unsure == nil {
		s.unsure = make(map[uint64]bool)
	}
	s.unsure[d.n] = true
	a.total.Failed++
	if a.total.FirstError == nil {
		a.total.FirstError = err
	}
}

// took notes a message that came.
func (a *account) took(user int, n uint64, at int64) {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.moment = now
	a.total.Received++
	_ = a.total.Latency.RecordValue(min(max(a.since(now)-at, 1), int64(time.Minute))) // it is in range
	switch s := &a.users[user]; {
	case n > s.last:
		for m := s.last + 1; m < n; m++ {
			if s.missing == nil {
				s.missing = make(map[uint64]bool)
			}
			s.missing[m] = true
		}
		s.last = n
	case s.missing[n]:
		delete(s.missing, n)
		a.total.Inversions++
	default:
		a.total.Duplicates++
	}
}

// open counts the messages that were published and have not come.
func (a *account) open() (n uint64) {
	for i := range a.users {
		s := &a.users[i]
		for m := range s.missing {
			if !s.unsure[m] {
				n++
			}
		}
		for m := s.last + 1; m <= s.sent; m++ {
			if !s.unsure[m] {
				n++
			}
		}
	}
	return n
}

// settle waits until everything has come, or nothing has for a while.
func (a *account) settle(ctx context.Context, patience time.Duration) {
	began := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		a.mu.Lock()
		open, last := a.open(), a.moment
		a.mu.Unlock()
		if last.Before(began) {
			last = began
		}
		if open == 0 || time.Since(last) > patience {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (a *account) result() Result {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.total.Lost = a.open()
	return a.total
}

// read takes a user's messages until ctx ends or the connection does, which is an
// error of the load.
func (a *account) read(ctx context.Context, user int, c *sioclient.Conn) error {
	for {
		e, err := c.Read()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.total.Broken++
			if a.total.FirstError == nil {
				a.total.FirstError = err
			}
			return err
		}
		var message struct {
			N  uint64
			At int64
		}
		if e.Name == Topic && len(e.Args) > 0 && json.Unmarshal(e.Args[0], &message) == nil {
			a.took(user, message.N, message.At)
		}
	}
}
