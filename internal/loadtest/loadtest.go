// Package loadtest puts a small, bounded load on a running bridge: users who listen,
// messages for them, and an account of each: whether it came, once, in order, and
// after what time.
package loadtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sync/errgroup"

	"github.com/codewar/socketbridge/internal/sioclient"
)

// Limits of a load: it is to show that a bridge works, not where it ends.
const (
	MaxUsers = 5_000
	MaxRate  = 20_000 // messages a second
	MaxFor   = 10 * time.Minute
)

// Topic is what the messages are published under.
const Topic = "bench"

// Plan is one load.
type Plan struct {
	Users   int
	Rate    int // messages a second, of all users together
	For     time.Duration
	Prefix  string                              // of the users' names
	Connect sioclient.Options                   // for every user
	Settle  time.Duration                       // how long what was published last may take to arrive
	Publish func(context.Context, []byte) error // stores a message of Topic; called concurrently
}

// Result is the account of a load.
type Result struct {
	Users      int
	Published  uint64 // messages whose storing was confirmed
	Failed     uint64 // that could not be published; they may have come all the same
	Received   uint64
	Lost       uint64
	Duplicates uint64
	Inversions uint64
	Broken     uint64                  // connections lost on the way
	Took       time.Duration           // from the first message until the last was published
	Latency    *hdrhistogram.Histogram // ns from when a message was due until its page had it
	FirstError error
}

// Err is nil when everything arrived as it must.
func (r Result) Err() error {
	switch {
	case r.Lost+r.Duplicates+r.Inversions > 0:
		return fmt.Errorf("%d lost, %d duplicates, %d inversions", r.Lost, r.Duplicates, r.Inversions)
	case r.Failed > 0:
		return fmt.Errorf("%d messages could not be published: %w", r.Failed, r.FirstError)
	case r.Broken > 0:
		return fmt.Errorf("%d connections were lost: %w", r.Broken, r.FirstError)
	case r.Received == 0:
		return errors.New("no message came")
	}
	return nil
}

// connecting bounds how many users are on their way in at the same time.
const connecting = 32

// connectLimit is how long one user may take to be mapped.
const connectLimit = 30 * time.Second

// Run connects the users, publishes, waits for what is under way and lets the
// users go. An error means that it did not come to an account.
func Run(ctx context.Context, p Plan) (Result, error) {
	a := newAccount(p.Users)
	listening, hangUp := context.WithCancel(ctx)
	var readers sync.WaitGroup
	defer readers.Wait()
	defer hangUp()
	var arrivals errgroup.Group
	arrivals.SetLimit(connecting)
	for i := range p.Users {
		arrivals.Go(func() error {
			if err := p.enter(listening, i, a, &readers); err != nil {
				return fmt.Errorf("connect user %d: %w", i, err)
			}
			return nil
		})
	}
	if err := arrivals.Wait(); err != nil {
		return Result{}, err
	}
	began := time.Now()
	p.publish(ctx, a)
	took := time.Since(began)
	a.settle(ctx, p.Settle)
	if ctx.Err() != nil {
		return Result{}, context.Cause(ctx)
	}
	hangUp()
	readers.Wait()
	r := a.result()
	r.Took = took
	return r, nil
}

// enter connects a user and waits until it is mapped. Its reader then goes on
// until ctx ends.
func (p Plan) enter(ctx context.Context, i int, a *account, readers *sync.WaitGroup) error {
	c, err := sioclient.Dial(ctx, p.Connect)
	if err != nil {
		return err
	}
	mapped, over := make(chan struct{}), make(chan error, 1)
	if err := c.SetUser(p.user(i), func() { close(mapped) }); err != nil {
		c.Close()
		return err
	}
	readers.Go(func() {
		defer c.Close()
		over <- a.read(ctx, i, c)
	})
	select {
	case <-mapped:
		return nil
	case err := <-over:
		return err
	case <-time.After(connectLimit):
		c.Close()
		return fmt.Errorf("not mapped within %v", connectLimit)
	}
}

func (p Plan) user(i int) string { return fmt.Sprintf("%s-%d", p.Prefix, i) }

// publishers bounds how many messages are on their way to the stream. A user
// belongs to one of them, so that its messages keep their order.
const publishers = 64

// due is a message and when it is to be published.
type due struct {
	user int
	n    uint64
	at   time.Time
}

// publish keeps to the schedule: a message that is published late, because the one
// before it took long, is late from when it was due.
func (p Plan) publish(ctx context.Context, a *account) {
	var working sync.WaitGroup
	queues := make([]chan due, min(publishers, p.Users))
	for i := range queues {
		queues[i] = make(chan due, 16)
		working.Go(func() {
			for d := range queues[i] {
				body := fmt.Appendf(nil, `{"userId":%q,"topic":%q,"n":%d,"at":%d}`, p.user(d.user), Topic, d.n, a.since(d.at))
				a.published(d, p.Publish(ctx, body))
			}
		})
	}
	sent := make([]uint64, p.Users)
	began := time.Now()
	every := time.Second / time.Duration(p.Rate)
	for n := 0; n < int(p.For/every) && ctx.Err() == nil; n++ {
		at := began.Add(time.Duration(n) * every)
		if wait := time.Until(at); wait > time.Millisecond { // below that a timer is not worth it
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
		}
		user := n % p.Users
		sent[user]++
		select {
		case queues[user%len(queues)] <- due{user, sent[user], at}:
		case <-ctx.Done():
		}
	}
	for _, q := range queues {
		close(q)
	}
	working.Wait()
}
