package subscriber

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/subscriber/natstest"
)

func TestPublishReturnsTheOffset(t *testing.T) {
	t.Parallel()
	c := ready(t, natstest.Server(t), "a")
	for want := range uint64(3) {
		got, err := c.Publish(t.Context(), Publication{Topic: "t.x", Body: []byte("{}")})
		if err != nil || got != (bridge.Offset{Epoch: c.streams.epoch(), Seq: want + 1}) {
			t.Fatalf("Publish = %v, %v; want sequence %d", got, err, want+1)
		}
	}
}

func TestPublishKeepsHeadersAndID(t *testing.T) {
	t.Parallel()
	c := ready(t, natstest.Server(t), "a")
	header := map[string][]string{"X-Own": {"1", "2"}}
	p := Publication{Topic: "t", Body: []byte("{}"), Header: header, ID: "id1"}
	first, err := c.Publish(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := c.Publish(t.Context(), p); err != nil || again != first {
		t.Errorf("second Publish = %v, %v; want the first one's offset %v", again, err, first)
	}
	if diff := cmp.Diff(map[string][]string{"X-Own": {"1", "2"}}, header); diff != "" {
		t.Error("the caller's header was changed:", diff)
	}
	m := stored(t, c, first.Seq)
	if diff := cmp.Diff(nats.Header{"X-Own": {"1", "2"}, nats.MsgIdHdr: {"id1"}}, m.Header); diff != "" {
		t.Error("stored header:", diff)
	}
}

func TestPublishFailsFastWhileAway(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	c := ready(t, s, "a")
	s.Shutdown()
	waitFor(t, "away", func() bool { return c.Ready() != nil })
	began := time.Now()
	_, err := c.Publish(t.Context(), Publication{Topic: "t", Body: []byte("late")})
	if took := time.Since(began); !errors.Is(err, bridge.ErrUnavailable) || took > 200*time.Millisecond {
		t.Errorf("Publish: %v after %v, want bridge.ErrUnavailable at once", err, took)
	}
	c.SendReceipt("somewhere", bridge.Receipt{})
	s.Start()
	waitFor(t, "ready", func() bool { return c.Ready() == nil })
	if o, err := c.Publish(t.Context(), Publication{Topic: "t"}); err != nil || o.Seq != 1 {
		t.Errorf("Publish = %v, %v; want sequence 1: nothing was kept for later", o, err)
	}
}

func TestPublishTooLarge(t *testing.T) {
	t.Parallel()
	c := ready(t, natstest.Server(t), "a")
	_, err := c.Publish(t.Context(), Publication{Topic: "t", Body: make([]byte, 2<<20)})
	if !errors.Is(err, bridge.ErrTooLarge) || errors.Is(err, bridge.ErrUnavailable) {
		t.Errorf("Publish: %v, want bridge.ErrTooLarge", err)
	}
}

func TestAskGetsItsReceipt(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	c, router := ready(t, s, "a"), ready(t, s, "b")
	i := newIntake(router, IntakeHandler{
		Keep: func([]bridge.Message) {}, Begin: func(uint64) {}, End: func(uint64) {}, Handed: func() bridge.Offset { return bridge.Offset{} },
		Route: func(_ context.Context, _ uint64, batch []bridge.Message) error {
			for _, m := range batch {
				if to := m.Header[bridge.HeaderReceipt]; len(to) == 1 {
					router.SendReceipt(to[0], bridge.Receipt{Outcome: bridge.Pushed, Sockets: 2, Offset: m.Offset, Topic: m.Topic})
				}
			}
			return nil
		},
	})
	done := make(chan error, 1)
	go func() { done <- i.Run(context.Background()) }()
	defer func() {
		if err := errors.Join(i.Drain(t.Context()), <-done); err != nil {
			t.Error(err)
		}
	}()

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for n := range uint64(3) {
		got, err := c.PublishForReceipt(ctx, Publication{Topic: "t", Body: []byte("{}"), ID: string('a' + rune(n))})
		want := bridge.Receipt{Outcome: bridge.Pushed, Sockets: 2, Topic: "t", Offset: bridge.Offset{Epoch: c.streams.epoch(), Seq: n + 1}}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Fatal(err, diff)
		}
	}
	for _, err := range manyAsks(ctx, c, 20*batchInFlight) {
		if err != nil {
			t.Error("one of many:", err)
		}
	}
	nobodyWaits(t, c)
	if got, err := c.PublishForReceipt(ctx, Publication{Topic: "t", ID: "a"}); err != nil || got.Outcome != bridge.Duplicate || got.Offset.Seq != 1 {
		t.Errorf("Ask with a used ID = %v, %v; want duplicate of sequence 1", got, err)
	}
}

func TestAskWithoutReceipt(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	c := ready(t, s, "a")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	r, err := c.PublishForReceipt(ctx, Publication{Topic: "t"})
	if !errors.Is(err, bridge.ErrNoReceipt) || !errors.Is(err, context.DeadlineExceeded) || r.Offset.Seq != 1 {
		t.Errorf("Ask = %v, %v; want bridge.ErrNoReceipt with the offset", r, err)
	}
	s.Shutdown()
	waitFor(t, "away", func() bool { return c.Ready() != nil })
	if _, err := c.PublishForReceipt(t.Context(), Publication{Topic: "t"}); !errors.Is(err, bridge.ErrUnavailable) {
		t.Errorf("Ask: %v, want bridge.ErrUnavailable", err)
	}
	nobodyWaits(t, c)
}

func TestReceiptSubjectsAreGuarded(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	cfg := testConfig(s)
	cfg.ReceiptSubjects = []string{"my.*", ">"}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	usual := testConfig(s)
	c := open(t, cfg, "a", discard)
	waitFor(t, "client ready", func() bool { return c.Ready() == nil })
	sub, err := s.Connect().SubscribeSync("my.receipts")
	if err != nil {
		t.Fatal(err)
	}
	if err := sub.AutoUnsubscribe(1); err != nil {
		t.Fatal(err)
	}
	publish(t, c, 0, 3)
	for _, subject := range []string{
		"$JS.API.STREAM.PURGE.CODEWAR", "$SYS.x", "codewar.t", "bridge.codewar.node.a", "bridge.dead.x",
		"a.*", ">", "a..b", ".a", "a.", "", "a b", "a\r\nPUB x 0", strings.Repeat("a", 300), "codewar", "bridge", "bridge.events.user.online", "_INBOX", "_INBOX.", "_INBOX.*", "_INBOX.a.>", "_INBOX.a b",
		"_INBOX." + strings.Repeat("a", 300),
	} {
		if c.cfg.mayReceive(subject) || usual.mayReceive(subject) {
			t.Errorf("%q may receive", subject)
		}
		c.SendReceipt(subject, bridge.Receipt{})
	}
	for _, subject := range []string{"my.receipts", "judge", "judge.a.b"} {
		if usual.mayReceive(subject) {
			t.Errorf("%q may receive without nats.receipt_subjects", subject)
		}
	}
	if !usual.mayReceive("_INBOX.x.y") || !usual.mayReceive(c.nc.NewInbox()) {
		t.Error("an inbox may not receive")
	}
	want := bridge.Receipt{Outcome: bridge.Inboxed, Topic: "t", At: time.Unix(1700000000, 0).UTC()}
	var m *nats.Msg
	waitFor(t, "receipt", func() bool { // until the subscription is there
		c.SendReceipt("my.receipts", want)
		m, err = sub.NextMsg(20 * time.Millisecond)
		return err == nil
	})
	var got bridge.Receipt
	if err := json.Unmarshal(m.Data, &got); err != nil || !cmp.Equal(got, want) {
		t.Errorf("receipt %s, %v", m.Data, err)
	}
	info, err := c.streams.ensure(t.Context())
	if err != nil || info.last != 3 {
		t.Errorf("stream %+v, %v: want its 3 messages", info, err)
	}
}

// nobodyWaits fails the test when a call that has ended is remembered.
func nobodyWaits(t *testing.T, c *Client) {
	t.Helper()
	s := c.inbox.publishes
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batcher.mu.Lock()
	defer s.batcher.mu.Unlock()
	if len(s.waiting) > 0 || len(s.batcher.waiting) > 0 || s.batcher.inFlight != 0 {
		t.Errorf("%d wait for answers, %d in the batch, %d are under way; want none", len(s.waiting), len(s.batcher.waiting), s.batcher.inFlight)
	}
}
