package subscriber

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/codewar/socketbridge/bridge"
)

const (
	// aheadBytes bounds what the client library holds beyond the batch in hand and
	// the one that gathers.
	aheadBytes = 8 << 20
	// heartbeat is how often the server says that an idle consumer lives. Two
	// missing ones end a session.
	heartbeat = time.Second
	// pullExpiry is how long one request for messages stands at the server.
	pullExpiry = 30 * time.Second
	// forgetAfter is when the server removes a consumer whose reader has vanished.
	forgetAfter = 30 * time.Second
)

var (
	errAnew = errors.New("stream was made anew")
	errHole = errors.New("a message was lost between nats and the intake")
)

// session is one consumer's life: from its creation to the first fault. The
// consumer is ordered, that is, ephemeral and without acknowledgements; whatever
// goes wrong, the next session goes on after the last message handled. The
// library's own ordered consumer does the same but would go on at the old
// sequence in a stream that was made anew.
type session struct {
	intake *Intake
	term   uint64
	last   bridge.Offset // the last message handled
	begun  bool          // it came as far as reading

	prefix string // of the subjects, with its dot
	epoch  uint64 // of the stream, from create on

	arrived *gathering
	failed  chan error // capacity 1: the first fault

	// Owned by arrive: consumer and stream sequence of the last arrival.
	seen, read uint64
}

// run reads until a fault or the end of reading, and returns why.
func (s *session) run(reading, work context.Context) error {
	c := s.intake.client
	if err := c.conn.err(); err != nil {
		return err
	}
	reading, cancel := c.conn.while(reading)
	defer cancel()
	consumer, err := s.create(reading)
	if err != nil {
		return err
	}
	defer s.remove(consumer)

	s.arrived = newGathering()
	s.failed = make(chan error, 1)
	ahead := max(aheadBytes, 2*c.conn.maxPayload()) // less than one message would stall
	messages, err := pull(c.nc, c.cfg.Stream.Name, consumer, ahead, func(m *nats.Msg) { s.arrive(reading, m) }, s.fail)
	if err != nil {
		return err
	}
	defer func() {
		cancel() // arrive waits no longer
		messages.stop()
	}()
	s.begun = true
	s.intake.handover.reading(true)
	defer s.intake.handover.reading(false)
	s.intake.log.Info("reading", "term", s.term, "after", s.last.String())
	return s.route(reading, work)
}

// create makes the consumer and finds where it starts. The stream is looked at
// before, for the place, and after: were it made anew in between, the place
// would be wrong. Nothing is delivered before Consume.
func (s *session) create(ctx context.Context) (jetstream.Consumer, error) {
	c := s.intake.client
	before, err := c.streams.ensure(ctx)
	if err != nil {
		return nil, err
	}
	config := s.start(before)
	s.epoch, s.read = before.epoch, s.last.Seq
	config.AckPolicy = jetstream.AckNonePolicy
	config.MemoryStorage = true
	config.Replicas = 1
	config.InactiveThreshold = forgetAfter
	consumer, err := c.js.CreateConsumer(ctx, c.cfg.Stream.Name, config)
	if err != nil {
		return nil, fmt.Errorf("create consumer: %w", err)
	}
	after, err := c.streams.ensure(ctx)
	if err == nil && after.epoch != before.epoch {
		err = errAnew
	}
	if err != nil {
		s.remove(consumer)
		return nil, err
	}
	return consumer, nil
}

// start chooses where to read on.
func (s *session) start(now streamState) jetstream.ConsumerConfig {
	log := s.intake.log
	switch {
	case s.last.IsZero():
		from := time.Now().Add(-s.intake.window)
		return jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &from}
	case s.last.Epoch != now.epoch:
		log.Warn("stream was made anew, reading it from its first message", "before", s.last.Epoch, "now", now.epoch)
		s.last = bridge.Offset{Epoch: now.epoch}
	case s.last.Seq > now.last:
		log.Error("the stream has lost its newest messages, their sequences will be used again", "stream_seq", now.last, "read", s.last.Seq)
		s.last.Seq = now.last
	}
	return jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: s.last.Seq + 1}
}

// remove spares the server a consumer that it would forget by itself.
func (s *session) remove(consumer jetstream.Consumer) {
	c := s.intake.client
	if c.conn.err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := c.js.DeleteConsumer(ctx, c.cfg.Stream.Name, consumer.CachedInfo().Name); err != nil {
		s.intake.log.Debug("consumer not removed", "err", err)
	}
}

// arrive takes one message from the library, and waits while the next batch is
// full: then the library asks the server for no more.
func (s *session) arrive(ctx context.Context, m *nats.Msg) {
	p, ok := parsePlace(m.Reply)
	if !ok || p.consumer != s.seen+1 {
		s.fail(errHole) // and everything after this one is out of order as well
		return
	}
	s.seen = p.consumer
	if p.stream <= s.read {
		return
	}
	if lost := p.stream - s.read - 1; lost > 0 && s.read > 0 {
		s.intake.lost(lost, p.stream)
	}
	s.read = p.stream
	s.arrived.add(ctx, bridge.Message{
		Offset:  bridge.Offset{Epoch: s.epoch, Seq: p.stream},
		Subject: m.Subject,
		Topic:   strings.TrimPrefix(m.Subject, s.prefix),
		Stored:  time.Unix(0, int64(p.stored)),
		Header:  m.Header,
		Body:    m.Data,
	})
}

// fail records the first fault.
func (s *session) fail(err error) {
	select {
	case s.failed <- err:
	default:
	}
}

// route hands on what arrives, in batches: one message waits for nobody, and
// while a batch is being routed the next one gathers.
func (s *session) route(reading, work context.Context) error {
	for {
		select {
		case <-s.arrived.some:
			batch := s.arrived.take()
			if len(batch) == 0 {
				continue
			}
			if err := s.intake.handler.Route(work, s.term, batch); err != nil {
				return fmt.Errorf("route batch: %w", err)
			}
			s.last = batch[len(batch)-1].Offset
			s.intake.read.Store(s.last.Seq)
		case err := <-s.failed:
			return err
		case <-reading.Done():
			return context.Cause(reading)
		}
		if reading.Err() != nil {
			return context.Cause(reading)
		}
	}
}
