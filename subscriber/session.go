package subscriber

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	term   uint64               // zero: this node stands by
	handed bridge.Offset        // what is not after it was handed on already; zero: not known
	mark   bridge.StoredMessage // the newest message that a leader before has handed on

	last  bridge.Offset // the last message handled; zero: none is known
	begun bool          // it came as far as reading

	prefix string    // of the subjects, with its dot
	epoch  uint64    // of the stream, from create on
	target uint64    // from here on histories are complete
	unread uint64    // what is missing after it was read by no leader
	oldest time.Time // what was stored before it is not handed on
	open   bool      // histories are answered for

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
	defer s.intake.handover.setReading(false)
	defer s.intake.current.Store(false)
	s.intake.log.Info("reading", "term", s.term, "after", s.last.String(), "handed", s.handed.String())
	return s.take(reading, work)
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
	config, err := s.start(ctx, before)
	if err != nil {
		return nil, err
	}
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
	if err == nil && s.term > 0 {
		err = s.intake.withdrawals.apply(ctx)
	}
	if err != nil {
		s.remove(consumer)
		return nil, err
	}
	return consumer, nil
}

// coldMessages is how many of the stream's messages a reader without an index reads at least,
// in some three seconds: older ones than the window say which users' last message is known.
const coldMessages = 2_000_000

// start chooses where to read on, and has the index begin there.
func (s *session) start(ctx context.Context, now streamState) (jetstream.ConsumerConfig, error) {
	log, index := s.intake.log, s.intake.index
	if err := s.recognise(ctx, now); err != nil {
		return jetstream.ConsumerConfig{}, err
	}
	switch begin := now.begin; {
	case s.last.IsZero():
		oldest := time.Now().Add(-s.intake.cfg.Window)
		seq, err := cold(now.first, now.last, oldest, func(seq uint64) (int64, error) { return s.storedAt(ctx, now, seq) })
		if err != nil {
			return jetstream.ConsumerConfig{}, err
		}
		s.last = bridge.Offset{Epoch: now.epoch, Seq: seq - 1}
		if s.term > 0 && s.handed.Epoch == now.epoch && s.handed.Seq < s.last.Seq {
			defer s.intake.lost(s.last.Seq-s.handed.Seq, s.last) // when the index has begun
		}
		s.beginIndex(s.last, now)
	case s.last.Epoch != now.epoch:
		log.Warn("stream has a new epoch", "before", s.last.String(), "begins", begin.String())
		if s.last.Epoch < now.epoch && begin.Seq > 0 {
			begin.Seq = min(begin.Seq, s.last.Seq) // read on, it is the same up to there
		}
		if now.epoch != now.created && begin.Seq == 0 {
			s.beginIndex(begin, now) // nothing of the stream before was recognised
		} else {
			index.Branch(now.begin)
		}
		s.last = begin
	}
	s.oldest = time.Now().Add(-s.intake.cfg.Window)
	s.target = now.last
	switch {
	case s.handed.Epoch == now.epoch:
		s.target = min(s.handed.Seq, now.last)
	case !s.handed.IsZero():
		s.target = 0 // all of this stream is to be handed on
	}
	s.unread = s.target
	return jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: s.last.Seq + 1}, nil
}

// beginIndex has the index begin behind an offset.
func (s *session) beginIndex(o bridge.Offset, now streamState) {
	if s.intake.index.Begin(o, now.lineage.epochs(now.created)...) {
		s.intake.withdrawals.forget()
	}
}

// cold is the sequence at which a reader without an index begins: so many messages before the last,
// and before all of the window. storedAt is when a message was stored, in ms; zero: it was deleted.
func cold(first, last uint64, oldest time.Time, storedAt func(seq uint64) (int64, error)) (uint64, error) {
	if last < first+coldMessages {
		return max(first, 1), nil
	}
	begin := last - coldMessages
	for begin > first { // at a rate at which so many messages are less than the window
		stored, err := storedAt(begin)
		if err != nil {
			return 0, fmt.Errorf("find the window's begin: %w", err)
		}
		if stored < oldest.UnixMilli() {
			break // where one was deleted the window is not cut far from here
		}
		begin -= min(coldMessages, begin-first)
	}
	return begin, nil
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
	if lost := p.stream - s.read - 1; lost > 0 && s.read > 0 && s.term > 0 && s.read >= s.unread {
		s.intake.lost(lost, bridge.Offset{Epoch: s.epoch, Seq: p.stream - 1})
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

// take takes what arrives, in batches: one message does not wait for others, and
// while a batch is being routed the next one gathers.
func (s *session) take(reading, work context.Context) error {
	for {
		s.complete()
		select {
		case <-s.arrived.some:
			batch := s.arrived.take()
			if len(batch) == 0 {
				continue
			}
			if err := s.takeBatch(work, batch); err != nil {
				return err
			}
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

// takeBatch keeps the messages of a batch that are not to be handed on, and routes the others.
func (s *session) takeBatch(work context.Context, batch []bridge.Message) error {
	old := len(batch)
	if s.term > 0 {
		old = slices.IndexFunc(batch, s.isNew)
		if old < 0 {
			old = len(batch)
		}
	}
	if old > 0 {
		s.intake.handler.Keep(batch[:old])
		s.last = batch[old-1].Offset
	}
	if rest := batch[old:]; len(rest) > 0 {
		s.target = 0
		s.complete()
		if err := s.intake.handler.Route(work, s.term, rest); err != nil {
			return fmt.Errorf("route batch: %w", err)
		}
		s.last = rest[len(rest)-1].Offset
		s.handed = s.last
	}
	return nil
}

// isNew reports whether a message is to be handed on. All that come after one that is are.
func (s *session) isNew(m bridge.Message) bool {
	return m.Offset.After(s.handed) && (!s.handed.IsZero() || m.Stored.After(s.oldest))
}

// complete begins to answer for histories once the index has everything that a leader before may
// have handed on.
func (s *session) complete() {
	if s.open || s.last.Seq < s.target {
		return
	}
	s.open = true
	s.intake.current.Store(true)
	if s.term == 0 {
		return
	}
	if err := s.intake.client.embedded.use(); err != nil {
		s.intake.log.Error("a crash of the machine will not be noticed", "err", err)
	}
	s.intake.handover.setReading(true)
	s.intake.history.open(s.term)
}
