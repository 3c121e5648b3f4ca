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

// road is what a publishBatcher publishes to.
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

func newPending(subject string) *pendingPublish {
	return &pendingPublish{Msg: &nats.Msg{Subject: subject}, result: make(chan publishResult, 1)}
}

// add adds n publications, with their numbers as subjects.
func add(b *publishBatcher, n int) (added []*pendingPublish) {
	for i := range n {
		added = append(added, newPending(string(rune('a'+i))))
		b.add(added[i])
	}
	return added
}

func TestBatchWhileManyAreInFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &road{}
		b := newPublishBatcher(r.publish)
		calls := add(b, batchInFlight+5)
		r.wants(t, batchInFlight)
		b.remove(calls[batchInFlight+1]) // gives up before it has left
		r.wants(t, batchInFlight)
		b.remove(calls[0])
		r.wants(t, batchInFlight+4)
		var want []string
		for i, c := range calls {
			if i != batchInFlight+1 {
				want = append(want, c.Subject)
			}
			b.remove(c) // twice does no harm
		}
		if diff := cmp.Diff(want, r.left); diff != "" {
			t.Error("left in another order:", diff)
		}
		add(b, batchInFlight)
		r.wants(t, batchInFlight+4+batchInFlight) // there is room for as many again
	})
}

func TestBatchWaitsNotForLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &road{}
		b := newPublishBatcher(r.publish)
		calls := add(b, batchInFlight+2)
		time.Sleep(batchLimit - time.Nanosecond)
		r.wants(t, batchInFlight)
		b.add(newPending("last")) // does not prolong it for those who wait
		time.Sleep(2 * time.Nanosecond)
		synctest.Wait()
		r.wants(t, batchInFlight+3)
		b.add(newPending("later"))
		for _, c := range calls[:3] {
			b.remove(c)
		}
		r.wants(t, batchInFlight+3) // 16 are under way still
		b.remove(calls[3])
		r.wants(t, batchInFlight+4)
	})
}

// A call that waits for people's pages does not hold others back once it is stored,
// and who says so must not wait for the network.
func TestReleasePublishesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &road{}
		b := newPublishBatcher(r.publish)
		calls := add(b, batchInFlight+1)
		b.release(calls[0])
		r.wants(t, batchInFlight)
		b.add(newPending("next"))
		r.wants(t, batchInFlight+1)
		b.remove(calls[0]) // its room was given away already
		r.wants(t, batchInFlight+1)
	})
}

func TestPublishErrorIsTheResult(t *testing.T) {
	t.Parallel()
	r := &road{closed: nats.ErrConnectionClosed}
	b := newPublishBatcher(r.publish)
	for _, c := range add(b, 2) {
		if e := <-c.result; !errors.Is(e.err, nats.ErrConnectionClosed) {
			t.Errorf("%+v, want the error of publishing", e)
		}
	}
}

// manyAsks makes so many calls at once, and returns how they ended.
func manyAsks(ctx context.Context, c *Client, n int) []error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { _, errs[i] = c.PublishForReceipt(ctx, Publication{Topic: "t", Body: []byte("{}")}) })
	}
	all.Wait()
	return errs
}

// Without a leader there are no receipts. Every call is stored for the next one all the
// same, within its time.
func TestManyAsksWithoutLeader(t *testing.T) {
	t.Parallel()
	const many = 5 * batchInFlight
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
	go func() { done <- manyAsks(t.Context(), c, 3*batchInFlight) }()
	waitFor(t, "all under way", func() bool {
		c.inbox.publishes.batcher.mu.Lock()
		defer c.inbox.publishes.batcher.mu.Unlock()
		return c.inbox.publishes.batcher.inFlight == 3*batchInFlight
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
		s := newPendingPublishes("inbox.", nil, newPublishBatcher(r.publish))
		closed, lost := make(chan struct{}), make(chan struct{})
		wait := func(p *pendingPublish, lost <-chan struct{}) <-chan publishResult {
			done := make(chan publishResult, 1)
			go func() { done <- p.wait(t.Context(), lost, closed) }()
			return done
		}
		silent := s.begin(&nats.Msg{Header: nats.Header{}})
		stored := s.begin(&nats.Msg{Header: nats.Header{}})
		s.receive(&nats.Msg{Subject: stored.Reply, Data: []byte(`{"stream":"S","seq":1}`)})
		began := time.Now()
		silentEnds, storedEnds := wait(silent, lost), wait(stored, lost)
		if e := <-silentEnds; !errors.Is(e.err, errNoAck) {
			t.Errorf("%+v, want errNoAck", e)
		}
		if took := time.Since(began); took != ackLimit {
			t.Errorf("told after %v, want %v", took, ackLimit)
		}
		away := s.begin(&nats.Msg{Header: nats.Header{}})
		awayEnds := wait(away, lost)
		synctest.Wait()
		close(lost)
		if e := <-awayEnds; !errors.Is(e.err, bridge.ErrUnavailable) {
			t.Errorf("%+v when the connection is lost, want bridge.ErrUnavailable", e)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		select {
		case e := <-storedEnds:
			t.Errorf("%+v, but it was stored", e)
		default:
		}
		late := s.begin(&nats.Msg{Header: nats.Header{}})
		lateEnds := wait(late, nil)
		close(closed)
		for _, ends := range []<-chan publishResult{storedEnds, lateEnds} {
			if e := <-ends; !errors.Is(e.err, bridge.ErrUnavailable) {
				t.Errorf("%+v at the end of the process, want bridge.ErrUnavailable", e)
			}
		}
		for _, p := range []*pendingPublish{silent, stored, away, late} {
			s.end(p)
		}
	})
}
