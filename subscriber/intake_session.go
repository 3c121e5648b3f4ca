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
	// aheadBytes bounds the messages in the client library, beside the batch in hand and
	// the next one.
	aheadBytes = 8 << 20
	// heartbeat is how often the server sends a heartbeat of an idle consumer. Two
	// missing ones end a session.
	heartbeat = time.Second
	// pullExpiry is how long the server keeps one request for messages.
	pullExpiry = 30 * time.Second
	// forgetAfter is when the server removes a consumer whose reader sends no request.
	forgetAfter = 30 * time.Second
)

var (
	errAnew = errors.New("stream was made anew")
	errHole = errors.New("a message was lost between nats and the intake")
)

// readSession reads one consumer, from its creation to the first fault. The consumer is ephemeral and
// without acknowledgements; after a fault the next session begins after the last message handled. The
// library's ordered consumer does the same, but in a stream that was created again it would continue at
// the old sequence.
type readSession struct {
	intake *Intake
	term   uint64               // zero: this node stands by
	handed bridge.Offset        // messages up to it were dispatched already; zero: not known
	mark   bridge.StoredMessage // the newest message that an earlier leader has dispatched

	last  bridge.Offset // the last message handled; zero: none
	begun bool          // the consumer was read

	prefix string    // of the subjects, with its dot
	epoch  uint64    // of the stream, from create on
	target uint64    // the index is complete when the messages up to here are in it
	unread uint64    // no leader has read messages after it
	oldest time.Time // older messages are not dispatched
	open   bool      // the index is complete, and histories are answered

	arrived *batchBuffer
	failed  chan error // capacity 1: the first fault

	// Owned by arrive: consumer and stream sequence of the last arrival.
	seen, read uint64
}

// run reads until a fault or the end of reading, and returns why.
func (s *readSession) run(reading, work context.Context) error {
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

	s.arrived = newBatchBuffer()
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

// create creates the consumer and chooses its first sequence. It reads the state of the stream
// before and after: if the stream was created again in between, the sequence would be wrong.
// The server delivers nothing before the first pull request.
func (s *readSession) create(ctx context.Context) (jetstream.Consumer, error) {
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

// coldMessages is how many messages a reader without an index reads at least, which takes some three
// seconds. Those that are older than the window make known the last message of more users.
const coldMessages = 2_000_000

// start chooses the first message to read, and starts the index there.
func (s *readSession) start(ctx context.Context, now streamState) (jetstream.ConsumerConfig, error) {
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
			begin.Seq = min(begin.Seq, s.last.Seq) // continue: the stream is the same up to there
		}
		if now.epoch != now.created && begin.Seq == 0 {
			s.beginIndex(begin, now) // it has no message of the stream before
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
		s.target = 0 // every message of this stream is dispatched
	}
	s.unread = s.target
	return jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: s.last.Seq + 1}, nil
}

// beginIndex starts the index after an offset.
func (s *readSession) beginIndex(o bridge.Offset, now streamState) {
	if s.intake.index.Begin(o, now.lineage.epochs(now.created)...) {
		s.intake.withdrawals.forget()
	}
}

// cold is the sequence at which a reader without an index begins: coldMessages before the last one,
// and before the window. storedAt is when a message was stored, in ms; zero: it was deleted.
func cold(first, last uint64, oldest time.Time, storedAt func(seq uint64) (int64, error)) (uint64, error) {
	if last < first+coldMessages {
		return max(first, 1), nil
	}
	begin := last - coldMessages
	for begin > first { // coldMessages may be less than the window
		stored, err := storedAt(begin)
		if err != nil {
			return 0, fmt.Errorf("find the window's begin: %w", err)
		}
		if stored < oldest.UnixMilli() {
			break // stored is zero for a deleted message: the window then begins near here
		}
		begin -= min(coldMessages, begin-first)
	}
	return begin, nil
}

// remove deletes the consumer, which the server would remove later.
func (s *readSession) remove(consumer jetstream.Consumer) {
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

// arrive receives one message from the library, and waits while the next batch is
// full: meanwhile the server receives no request for more.
func (s *readSession) arrive(ctx context.Context, m *nats.Msg) {
	meta, err := m.Metadata()
	if err != nil || meta.Sequence.Consumer != s.seen+1 {
		s.fail(errHole) // every message after this one is out of order too
		return
	}
	s.seen = meta.Sequence.Consumer
	seq := meta.Sequence.Stream
	if seq <= s.read {
		return
	}
	if lost := seq - s.read - 1; lost > 0 && s.read > 0 && s.term > 0 && s.read >= s.unread {
		s.intake.lost(lost, bridge.Offset{Epoch: s.epoch, Seq: seq - 1})
	}
	s.read = seq
	s.arrived.add(ctx, bridge.Message{
		Offset:  bridge.Offset{Epoch: s.epoch, Seq: seq},
		Subject: m.Subject,
		Topic:   strings.TrimPrefix(m.Subject, s.prefix),
		Stored:  meta.Timestamp,
		Header:  m.Header,
		Body:    m.Data,
	})
}

// fail records the first fault.
func (s *readSession) fail(err error) {
	select {
	case s.failed <- err:
	default:
	}
}

// take handles the messages in batches: a message does not wait for others, and
// the next batch is collected while one is routed.
func (s *readSession) take(reading, work context.Context) error {
	for {
		s.complete()
		select {
		case <-s.arrived.notEmpty:
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

// takeBatch indexes the messages of a batch that were dispatched before, and routes the others.
func (s *readSession) takeBatch(work context.Context, batch []bridge.Message) error {
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

// isNew reports whether a message is to be dispatched. All messages after a new one are new.
func (s *readSession) isNew(m bridge.Message) bool {
	return m.Offset.After(s.handed) && (!s.handed.IsZero() || m.Stored.After(s.oldest))
}

// complete begins to answer history questions when the index has every message that an earlier leader
// may have dispatched.
func (s *readSession) complete() {
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
