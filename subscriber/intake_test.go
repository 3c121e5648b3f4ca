package subscriber

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/subscriber/natstest"
)

// bodies are the distinct bodies that were taken, in the order of their first time.
func bodies(msgs []bridge.Message) (list []string) {
	seen := make(map[string]bool)
	for _, m := range msgs {
		if b := string(m.Body); !seen[b] {
			seen[b] = true
			list = append(list, b)
		}
	}
	return list
}

// checkSequence fails unless the distinct bodies are m0, m1, ... m<n-1>.
func checkSequence(t testing.TB, msgs []bridge.Message, n int) {
	t.Helper()
	got := bodies(msgs)
	if len(got) != n {
		t.Fatalf("took %d distinct messages, want %d", len(got), n)
	}
	for i, b := range got {
		if want := fmt.Sprintf("m%d", i); b != want {
			t.Fatalf("message %d is %q, want %q", i, b, want)
		}
	}
}

func TestIntakeReadsInOrder(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	c := ready(t, s, "a")
	publish(t, c, 0, 700)
	k := &taker{}
	i, _ := run(t, c, k.handler())
	publish(t, c, 700, 300)

	waitFor(t, "1000 messages", func() bool { return k.count() >= 1000 })
	msgs := k.all()
	checkSequence(t, msgs, 1000)
	if len(msgs) != 1000 {
		t.Errorf("took %d messages, want each once", len(msgs))
	}
	m := msgs[0]
	if m.Subject != "codewar.t" || m.Topic != "t" || m.Header[nats.MsgIdHdr][0] != "m0" {
		t.Errorf("first message: subject %q, topic %q, header %v", m.Subject, m.Topic, m.Header)
	}
	if m.Offset.Epoch != c.streams.epoch() || m.Offset.Seq != 1 {
		t.Errorf("first offset %v, want sequence 1 of epoch %d", m.Offset, c.streams.epoch())
	}
	waitFor(t, "leading without lag", func() bool { lag := i.Lag(); return i.Leading() && lag.Read == 1000 && lag.Last == 1000 })
}

func TestIntakeWithoutHeadersHasNilHeader(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	c := ready(t, s, "a")
	k := &taker{}
	run(t, c, k.handler())
	if err := s.Connect().Publish("codewar.a.b", []byte("x")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the message", func() bool { return k.count() == 1 })
	if m := k.all()[0]; m.Header != nil || m.Topic != "a.b" {
		t.Errorf("header %v, topic %q; want nil and a.b", m.Header, m.Topic)
	}
}

func TestIntakeStartsBehindWhatWasHandedOn(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		handed func(epoch uint64) bridge.Offset
		window time.Duration
		want   uint64 // first sequence that is handed on; 0: none
		kept   int
	}{
		"in the middle":             {func(e uint64) bridge.Offset { return bridge.Offset{Epoch: e, Seq: 4} }, 0, 5, 4},
		"at the end":                {func(e uint64) bridge.Offset { return bridge.Offset{Epoch: e, Seq: 10} }, time.Hour, 0, 10},
		"older epoch":               {func(e uint64) bridge.Offset { return bridge.Offset{Epoch: e - 1, Seq: 400} }, 0, 1, 0},
		"none, within the window":   {func(uint64) bridge.Offset { return bridge.Offset{} }, time.Hour, 1, 0},
		"none, all of it too old":   {func(uint64) bridge.Offset { return bridge.Offset{} }, 0, 0, 10},
		"zero sequence, this epoch": {func(e uint64) bridge.Offset { return bridge.Offset{Epoch: e} }, 0, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := natstest.Server(t)
			c := ready(t, s, "a")
			publish(t, c, 0, 10)
			lease := newNATSLease(c, "before")
			if _, err := lease.save(t.Context(), leaseRecord{Handed: bridge.StoredMessage{Offset: tt.handed(c.streams.epoch())}}, 0); err != nil {
				t.Fatal(err)
			}
			k := &taker{}
			index := bridge.NewIndex(bridge.IndexConfig{TTL: time.Hour, MaxPerUser: 1000, MaxMemory: 1 << 20})
			i := c.NewIntake(index, c.NewHistory(index), IntakeConfig{Window: tt.window}, k.handler())
			done := make(chan error, 1)
			go func() { done <- i.Run(context.Background()) }()
			waitFor(t, "all messages", func() bool {
				k.mu.Lock()
				defer k.mu.Unlock()
				n := 0
				for _, term := range k.terms {
					n += len(term.msgs)
				}
				handed := 0
				if tt.want > 0 {
					handed = int(11 - tt.want)
				}
				return len(k.terms) == 1 && n >= handed && k.kept >= tt.kept
			})
			if err := i.Drain(t.Context()); err != nil {
				t.Error(err)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
			var first uint64
			if got := k.all(); len(got) > 0 {
				first = got[0].Offset.Seq
			}
			if first != tt.want {
				t.Errorf("hands on from %d, want %d", first, tt.want)
			}
			if k.kept < tt.kept {
				t.Errorf("knows of %d messages that were handed on, want %d", k.kept, tt.kept)
			}
		})
	}
}

func TestIntakeSurvivesRestarts(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	var book logBook
	c := open(t, testConfig(s), "a", book.logger())
	k := &taker{}
	run(t, c, k.handler())

	const n, restarts = 1500, 3
	published := make(chan struct{})
	go func() {
		defer close(published)
		publish(t, c, 0, n)
	}()
	for i := range restarts {
		waitFor(t, "progress before a restart", func() bool { return k.count() > 200*(i+1) })
		s.Restart()
		waitFor(t, "back", func() bool { return book.count("nats is back") == i+1 })
	}
	<-published
	waitFor(t, "all messages", func() bool { return k.count() >= n })
	checkSequence(t, k.all(), n)
	k.checkOrder(t)
	if got := len(k.terms); got != 1 {
		t.Errorf("%d terms, want 1: a restart of NATS is no reason to stop leading", got)
	}
	if got := k.count(); got != n {
		t.Errorf("took %d messages, want %d: each once in a term", got, n)
	}
	if away, back := book.count("nats is away"), book.count("nats is back"); away != restarts || back != restarts {
		t.Errorf("said away %d times and back %d times, want %d each:\n%s", away, back, restarts, book.text.String())
	}
	if got := book.count("reading interrupted"); got > restarts {
		t.Errorf("said that reading is interrupted %d times for %d restarts:\n%s", got, restarts, book.text.String())
	}
}

func TestIntakeNATSAbsentAtStart(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	s.Shutdown()
	began := time.Now()
	var book logBook
	c := open(t, testConfig(s), "a", book.logger())
	if took := time.Since(began); took > time.Second {
		t.Errorf("Open took %v with NATS absent", took)
	}
	if err := c.Ready(); !errors.Is(err, bridge.ErrUnavailable) {
		t.Errorf("Ready: %v, want bridge.ErrUnavailable", err)
	}
	if _, err := c.Publish(t.Context(), Publication{Topic: "t"}); !errors.Is(err, bridge.ErrUnavailable) {
		t.Errorf("Publish: %v, want bridge.ErrUnavailable", err)
	}
	k := &taker{}
	i, _ := run(t, c, k.handler())
	s.Start()
	waitFor(t, "ready", func() bool { return c.Ready() == nil })
	waitFor(t, "leading", i.Leading)
	publish(t, c, 0, 3)
	waitFor(t, "3 messages", func() bool { return k.count() == 3 })
	if got := book.count("nats is away"); got != 1 {
		t.Errorf("said %d times that nats is away, want once", got)
	}
}

func TestIntakeTakesOverFromDeadLeader(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	a, b := &taker{}, &taker{}
	ca, cb := ready(t, s, "a"), ready(t, s, "b")
	ia, _ := run(t, ca, a.handler())
	waitFor(t, "a leads", ia.Leading)
	ib, _ := run(t, cb, b.handler())
	publish(t, cb, 0, 20)
	waitFor(t, "a has 20 messages", func() bool { return a.count() == 20 })

	disconnected(ca)
	publish(t, cb, 20, 40)
	waitFor(t, "b leads", ib.Leading)
	waitFor(t, "b has the rest", func() bool { return len(bodies(append(a.all(), b.all()...))) == 60 })
	checkSequence(t, append(a.all(), b.all()...), 60)
	a.checkOrder(t)
	b.checkOrder(t)
	if first, next := a.terms[0].number, b.terms[0].number; next <= first {
		t.Errorf("b's term is %d, after %d", next, first)
	}
}

func TestIntakeGoesOnInANewStream(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	c := ready(t, s, "a")
	k := &taker{}
	run(t, c, k.handler())
	publish(t, c, 0, 10)
	waitFor(t, "10 messages", func() bool { return k.count() == 10 })

	if err := c.js.DeleteStream(t.Context(), c.cfg.Stream.Name); err != nil {
		t.Fatal(err)
	}
	publish(t, c, 10, 10)
	waitFor(t, "20 messages", func() bool { return k.count() == 20 })
	checkSequence(t, k.all(), 20)
	k.checkOrder(t)
	if first, last := k.all()[0].Offset, k.all()[19].Offset; last.Epoch <= first.Epoch || last.Seq != 10 {
		t.Errorf("offsets %v and %v: want a later epoch, sequence 10", first, last)
	}
}

func TestIntakeTakesAFlood(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	c := ready(t, s, "a")
	k := &taker{}
	run(t, c, k.handler())
	const n = 5_000 // several batches
	nc := s.Connect()
	for i := range n {
		if err := nc.Publish("codewar.t", fmt.Appendf(nil, "m%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "the flood", func() bool { return k.count() == n })
	checkSequence(t, k.all(), n)
}

func TestDrainHandsOverAtOnce(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	a, b := &taker{}, &taker{}
	ca, cb := ready(t, s, "a"), ready(t, s, "b")
	entered, release := make(chan struct{}), make(chan struct{})
	a.route = func(ctx context.Context) error {
		entered <- struct{}{}
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	ia, stopA := run(t, ca, a.handler())
	waitFor(t, "a leads", ia.Leading)
	run(t, cb, b.handler())

	publish(t, ca, 0, 1)
	<-entered // the batch is in hand
	publish(t, ca, 1, 9)
	stopped := make(chan struct{})
	go func() { stopA(); close(stopped) }()
	waitFor(t, "a drains", func() bool { return ia.stop.Err() != nil })
	select {
	case <-stopped:
		t.Fatal("Drain did not wait for the batch in hand")
	default:
	}
	close(release)
	<-stopped
	waitFor(t, "b has the rest", func() bool { return b.count() == 9 })
	if a.count() != 1 {
		t.Errorf("a took %d messages, want the one in hand", a.count())
	}
	checkSequence(t, append(a.all(), b.all()...), 10)
	if !a.terms[0].ended {
		t.Error("a's term was not ended")
	}
}

func TestDrainGivesUpABatchThatDoesNotFinish(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	c := ready(t, s, "a")
	k := &taker{}
	entered := make(chan struct{}, 1)
	k.route = func(ctx context.Context) error {
		entered <- struct{}{}
		<-ctx.Done()
		return context.Cause(ctx)
	}
	i := newIntake(c, k.handler())
	done := make(chan error, 1)
	go func() { done <- i.Run(context.Background()) }()
	publish(t, c, 0, 1)
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := i.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Drain: %v, want a deadline", err)
	}
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	lease, _, err := i.election.lease.load(t.Context())
	if err != nil || lease.Holder != "" || !lease.Handed.Offset.IsZero() {
		t.Errorf("lease %+v (%v): want resigned, and nothing handed on", lease, err)
	}
}

func TestIntakeSaysWhatAgedOut(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	var book logBook
	c := open(t, testConfig(s), "a", book.logger())
	waitFor(t, "the streams have been seen", func() bool { return c.Ready() == nil })
	publish(t, c, 0, 10)
	stream, err := c.js.Stream(t.Context(), c.cfg.Stream.Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context(), jetstream.WithPurgeSequence(8)); err != nil {
		t.Fatal(err)
	}
	handed := bridge.Offset{Epoch: c.streams.epoch(), Seq: 4}
	if _, err := newNATSLease(c, "before").save(t.Context(), leaseRecord{Handed: bridge.StoredMessage{Offset: handed}}, 0); err != nil {
		t.Fatal(err)
	}
	k := &taker{}
	run(t, c, k.handler())
	waitFor(t, "what is left", func() bool { return k.count() == 3 })
	if book.count("messages left the stream before they were read") != 1 || book.count("lost=3") != 1 {
		t.Error("three lost messages were not reported once:\n", book.text.String())
	}
}

func TestIntakeSurvivesTheLossOfItsConsumer(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	c := ready(t, s, "a")
	k := &taker{}
	run(t, c, k.handler())
	stream, err := c.js.Stream(t.Context(), c.cfg.Stream.Name)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		publish(t, c, 10*i, 10)
		waitFor(t, "ten more", func() bool { return k.count() == 10*(i+1) })
		for name := range stream.ConsumerNames(t.Context()).Name() {
			if err := stream.DeleteConsumer(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
	}
	publish(t, c, 30, 10)
	waitFor(t, "all", func() bool { return k.count() == 40 })
	checkSequence(t, k.all(), 40)
	k.checkOrder(t)
}
