package subscriber

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/subscriber/natstest"
)

// road is what a convoy publishes to.
type road struct {
	mu     sync.Mutex
	left   []string // subjects, in order
	closed error
}

func (r *road) publish(m *nats.Msg) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed == nil {
		r.left = append(r.left, m.Subject)
	}
	return r.closed
}

func (r *road) wants(t *testing.T, want int) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.left) != want {
		t.Errorf("%d have left, want %d", len(r.left), want)
	}
}

func asked(subject string) *ask {
	return &ask{Msg: &nats.Msg{Subject: subject}, ended: make(chan ending, 1)}
}

// join has n calls join, with their numbers as subjects.
func join(v *convoy, n int) (joined []*ask) {
	for i := range n {
		joined = append(joined, asked(string(rune('a'+i))))
		v.join(joined[i])
	}
	return joined
}

func TestConvoyGathersWhileManyAreUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &road{}
		v := newConvoy(r.publish)
		calls := join(v, convoyFew+5)
		r.wants(t, convoyFew)
		v.end(calls[convoyFew+1]) // gives up before it has left
		r.wants(t, convoyFew)
		v.end(calls[0])
		r.wants(t, convoyFew+4)
		var want []string
		for i, c := range calls {
			if i != convoyFew+1 {
				want = append(want, c.Subject)
			}
			v.end(c) // twice does no harm
		}
		if diff := cmp.Diff(want, r.left); diff != "" {
			t.Error("left in another order:", diff)
		}
		join(v, convoyFew)
		r.wants(t, convoyFew+4+convoyFew) // there is room for as many again
	})
}

func TestConvoyWaitsNotForLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &road{}
		v := newConvoy(r.publish)
		calls := join(v, convoyFew+2)
		time.Sleep(convoyLimit - time.Nanosecond)
		r.wants(t, convoyFew)
		v.join(asked("last")) // does not prolong it for those who wait
		time.Sleep(2 * time.Nanosecond)
		synctest.Wait()
		r.wants(t, convoyFew+3)
		v.join(asked("later"))
		for _, c := range calls[:3] {
			v.end(c)
		}
		r.wants(t, convoyFew+3) // 16 are under way still
		v.end(calls[3])
		r.wants(t, convoyFew+4)
	})
}

// A call that waits for people's pages does not hold others back once it is stored,
// and who says so must not wait for the network.
func TestConvoyRoomIsLeftWithoutPublishing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &road{}
		v := newConvoy(r.publish)
		calls := join(v, convoyFew+1)
		v.leave(calls[0])
		r.wants(t, convoyFew)
		v.join(asked("next"))
		r.wants(t, convoyFew+1)
		v.end(calls[0]) // its room was given away already
		r.wants(t, convoyFew+1)
	})
}

func TestConvoyTellsWhoWasNotPublished(t *testing.T) {
	t.Parallel()
	r := &road{closed: nats.ErrConnectionClosed}
	v := newConvoy(r.publish)
	for _, c := range join(v, 2) {
		if e := <-c.ended; !errors.Is(e.err, nats.ErrConnectionClosed) {
			t.Errorf("%+v, want the error of publishing", e)
		}
	}
}

// manyAsks makes so many calls at once, and returns how they ended.
func manyAsks(ctx context.Context, c *Client, n int) []error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { _, errs[i] = c.Ask(ctx, Publication{Topic: "t", Body: []byte("{}")}) })
	}
	all.Wait()
	return errs
}

// Without a leader there are no receipts. Every call is stored for the next one all the
// same, within its time.
func TestManyAsksWithoutLeader(t *testing.T) {
	t.Parallel()
	const many = 5 * convoyFew
	c := ready(t, natstest.Server(t), "a")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	for _, err := range manyAsks(ctx, c, many) {
		if !errors.Is(err, bridge.ErrNoReceipt) {
			t.Errorf("%v, want bridge.ErrNoReceipt", err)
		}
	}
	if info, err := c.streams.ensure(t.Context()); err != nil || info.last != many {
		t.Errorf("%d in the stream, %v; want %d", info.last, err, many)
	}
	nobodyWaits(t, c)
}

// Who waits when NATS goes away is told so at once, published or not.
func TestManyAsksWhenNATSGoes(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	c := ready(t, s, "a")
	nc := s.Connect()
	if err := c.js.DeleteStream(t.Context(), c.cfg.Stream.Name); err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Subscribe("codewar.t", func(*nats.Msg) {}); err != nil { // says nothing, so there is no PubAck
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	done := make(chan []error, 1)
	go func() { done <- manyAsks(t.Context(), c, 3*convoyFew) }()
	waitFor(t, "all under way", func() bool {
		c.inbox.asks.convoy.mu.Lock()
		defer c.inbox.asks.convoy.mu.Unlock()
		return c.inbox.asks.convoy.out == 3*convoyFew
	})
	began := time.Now()
	s.Shutdown()
	for _, err := range <-done {
		if !errors.Is(err, bridge.ErrUnavailable) {
			t.Errorf("%v, want bridge.ErrUnavailable", err)
		}
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("told after %v", took)
	}
	nobodyWaits(t, c)
}

// A PubAck that does not come ends the wait long before the caller's patience does.
func TestAskWithoutPubAck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &road{}
		s := newAsks("inbox.", nil, newConvoy(r.publish))
		conn := newConnection(discard)
		ctx, stop := context.WithCancel(t.Context())
		var watch sync.WaitGroup
		watch.Go(func() { s.watch(ctx, conn) })
		silent := s.begin(&nats.Msg{Header: nats.Header{}}, nil)
		stored := s.begin(&nats.Msg{Header: nats.Header{}}, nil)
		s.take(&nats.Msg{Subject: stored.Reply, Data: []byte(`{"stream":"S","seq":1}`)})
		began := time.Now()
		if e := <-silent.ended; !errors.Is(e.err, errNoAck) {
			t.Errorf("%+v, want errNoAck", e)
		}
		if took := time.Since(began); took < ackLimit || took > ackLimit+2*watchEvery {
			t.Errorf("told after %v, want %v", took, ackLimit)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		select {
		case e := <-stored.ended:
			t.Errorf("%+v, but it was stored", e)
		default:
		}
		late := s.begin(&nats.Msg{Header: nats.Header{}}, nil)
		stop()
		watch.Wait()
		for _, a := range []*ask{stored, late} {
			if e := <-a.ended; !errors.Is(e.err, bridge.ErrUnavailable) {
				t.Errorf("%+v at the end of the process, want bridge.ErrUnavailable", e)
			}
		}
		for _, a := range []*ask{silent, stored, late} {
			s.end(a)
		}
	})
}
