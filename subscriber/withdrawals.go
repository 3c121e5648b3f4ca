package subscriber

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/internal/varint"
)

const (
	// withdrawalBatch bounds the withdrawals of one record.
	withdrawalBatch = 4096
	// withdrawalLimit bounds how long a record may take. After that the receipts say that the outcome is
	// not certain.
	withdrawalLimit = 2 * time.Second
)

var (
	errNotLeading = errors.New("this node does not lead any more")
	errRecord     = errors.New("not a record of withdrawals")
)

// withdrawals is the record of withdrawn messages: no later leader may deliver a message whose
// sender was told "offline". It is a stream of its own, which NATS replicates like the messages. Each
// record names the sequence of the record before, so the stream has one writer at a time: a leader that
// was replaced cannot add to it, and so tells no sender "offline". Safe for concurrent use.
type withdrawals struct {
	client *Client
	index  *bridge.Index
	window time.Duration // for how long a record matters
	log    *slog.Logger

	mu      sync.Mutex // guards all below
	term    uint64     // zero: this node does not lead
	last    uint64     // sequence of the newest record
	read    uint64     // the index has the records up to here
	unsure  bool       // last may not be the newest record
	stream  jetstream.Stream
	waiting []withdrawal
	writing bool // write runs
}

type withdrawal struct {
	offset bridge.Offset
	done   func(error)
}

func newWithdrawals(c *Client, index *bridge.Index, window time.Duration, log *slog.Logger) *withdrawals {
	return &withdrawals{client: c, index: index, window: window, log: log}
}

func (w *withdrawals) config() jetstream.StreamConfig {
	cfg := w.client.cfg
	return jetstream.StreamConfig{
		Name: cfg.withdrawnStream(), Subjects: []string{cfg.withdrawnSubject()},
		Description: "messages that were withdrawn because their user was offline, see codewar/socketbridge",
		Storage:     jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld,
		MaxAge: w.window + time.Hour, MaxBytes: -1, Duplicates: time.Minute, Replicas: cfg.Stream.Replicas, AllowDirect: true,
	}
}

// begin makes this node the only writer. It returns [bridge.ErrNotLeader] when a node with a greater
// term has written.
func (w *withdrawals) begin(ctx context.Context, term uint64) error {
	for {
		stream, err := w.client.streams.adopt(ctx, w.config())
		if err != nil {
			return err
		}
		last, greatest, err := w.newest(ctx, stream)
		if err != nil {
			return err
		}
		if greatest > term {
			w.client.heardTerm.Store(max(greatest, w.client.heardTerm.Load()))
			return bridge.ErrNotLeader
		}
		mine, err := w.put(ctx, term, nil, last)
		if stale, ok := errors.AsType[*jetstream.APIError](err); ok && stale.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
			continue
		}
		if err != nil {
			return err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.stream, w.term, w.last, w.unsure = stream, term, mine, false
		return nil
	}
}

// newest returns the sequence and the term of the newest record.
func (w *withdrawals) newest(ctx context.Context, stream jetstream.Stream) (seq, term uint64, err error) {
	if state := stream.CachedInfo().State; state.Msgs == 0 {
		return state.LastSeq, 0, nil
	}
	m, err := stream.GetLastMsgForSubject(ctx, w.client.cfg.withdrawnSubject())
	if err != nil {
		return 0, 0, fmt.Errorf("read withdrawals: %w", err)
	}
	term, _, err = decodeWithdrawals(m.Data)
	return m.Sequence, term, err
}

// end ends the writing of this node. Withdrawals that wait fail.
func (w *withdrawals) end() {
	w.mu.Lock()
	w.term = 0
	waiting := w.waiting
	w.waiting = nil
	w.mu.Unlock()
	for _, one := range waiting {
		one.done(errNotLeading)
	}
}

// forget records that the index has begun again, and has no withdrawals.
func (w *withdrawals) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.read = 0
}

// apply puts the withdrawals of all nodes into the index. It comes after begin, and
// before the first message is routed.
func (w *withdrawals) apply(ctx context.Context) error {
	w.mu.Lock()
	stream, last := w.stream, w.last
	w.mu.Unlock()
	return w.readTo(ctx, stream, last)
}

// followEvery is how often a standby reads the new records. A takeover then reads those of this
// time only, whatever the number of records.
const followEvery = time.Second

// follow puts the withdrawals of the leader into the index of a standby until ctx ends.
// current reports whether the standby has indexed the stream to its end.
func (w *withdrawals) follow(ctx context.Context, current func() bool) {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if !current() {
			continue
		}
		if err := w.followOnce(ctx); err != nil { // the next leader reads these records in its term
			w.log.LogAttrs(ctx, slog.LevelDebug, "withdrawals of the leader not read", slog.Any("err", err))
		}
	}
}

func (w *withdrawals) followOnce(ctx context.Context) error {
	if err := w.client.conn.err(); err != nil {
		return err
	}
	ctx, cancel := w.client.conn.while(ctx)
	defer cancel()
	stream, err := w.client.js.Stream(ctx, w.client.cfg.withdrawnStream())
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look up stream of withdrawals: %w", err)
	}
	state := stream.CachedInfo().State
	if state.Msgs == 0 {
		return nil
	}
	return w.readTo(ctx, stream, state.LastSeq)
}

// fewRecords is how many records are read one by one. For more a consumer is created, which is
// faster for each record and costs four requests.
const fewRecords = 16

// readTo puts the records that were not read yet, up to last, into the index. When a replica is
// behind and does not have last, readTo returns an error.
func (w *withdrawals) readTo(ctx context.Context, stream jetstream.Stream, last uint64) error {
	w.mu.Lock()
	read := w.read
	w.mu.Unlock()
	seen := read
	if seen > last {
		seen = 0 // the stream was created again
	}
	for n := 0; seen < last && n < fewRecords; n++ {
		m, err := stream.GetMsg(ctx, seen+1, jetstream.WithGetMsgSubject(w.client.cfg.withdrawnSubject()))
		if err != nil {
			return fmt.Errorf("read withdrawals: %w", err)
		}
		seen = m.Sequence
		w.applyRecord(ctx, seen, m.Data)
	}
	if seen < last {
		from := jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: seen + 1}
		err := readStream(ctx, stream, from, func(m storedMsg) bool {
			seen = m.Sequence.Stream
			w.applyRecord(ctx, seen, m.Data())
			return seen < last
		})
		if err == nil && seen < last {
			err = errMissing
		}
		if err != nil {
			return fmt.Errorf("read withdrawals: %w", err)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.read == read { // else the index has begun again meanwhile
		w.read = seen
	}
	return nil
}

func (w *withdrawals) applyRecord(ctx context.Context, seq uint64, data []byte) {
	_, offsets, err := decodeWithdrawals(data)
	if err != nil {
		w.log.LogAttrs(ctx, slog.LevelWarn, "record of withdrawals not understood", slog.Uint64("record", seq), slog.Any("err", err))
	}
	w.index.Withdrawn(offsets...)
}

// Withdraw records that a message was withdrawn in a term of this node's intake, and calls done once.
// It never waits.
func (c *Client) Withdraw(term uint64, o bridge.Offset, done func(error)) {
	if w := c.withdrawals.Load(); w != nil {
		w.withdraw(term, o, done)
		return
	}
	done(errNotLeading)
}

// withdraw is [Client.Withdraw]. Withdrawals that come while a record is written share the next one.
func (w *withdrawals) withdraw(term uint64, o bridge.Offset, done func(error)) {
	w.mu.Lock()
	if w.term != term {
		w.mu.Unlock()
		done(errNotLeading)
		return
	}
	w.waiting = append(w.waiting, withdrawal{o, done})
	idle := !w.writing
	w.writing = true
	w.mu.Unlock()
	if idle {
		go w.write() // the router's term owns it: the term ends after every done
	}
}

// write writes records until no withdrawal waits.
func (w *withdrawals) write() {
	for {
		w.mu.Lock()
		n := min(len(w.waiting), withdrawalBatch)
		some := w.waiting[:n:n]
		w.waiting = w.waiting[n:]
		w.writing = n > 0
		w.mu.Unlock()
		if n == 0 {
			return
		}
		err := w.writeOne(some)
		for _, one := range some {
			one.done(err)
		}
	}
}

// writeOne writes one record. After a failure the stream may have the record, so the next call reads
// the newest record first.
func (w *withdrawals) writeOne(some []withdrawal) error {
	ctx, cancel := context.WithTimeout(context.Background(), withdrawalLimit)
	defer cancel()
	w.mu.Lock()
	term, unsure := w.term, w.unsure
	w.mu.Unlock()
	var err error
	switch {
	case term == 0:
		return errNotLeading
	case unsure:
		if err = w.begin(ctx, term); err == nil {
			err = w.apply(ctx) // the stream may have the record that failed
		}
	}
	if err != nil {
		return err
	}
	w.mu.Lock()
	last := w.last
	w.mu.Unlock()
	seq, err := w.put(ctx, term, some, last)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.unsure = err != nil; w.unsure {
		return err
	}
	if w.read == w.last {
		w.read = seq
	}
	w.last = seq
	return nil
}

// put writes one record after the record last.
func (w *withdrawals) put(ctx context.Context, term uint64, some []withdrawal, last uint64) (uint64, error) {
	ctx, cancel := w.client.conn.while(ctx)
	defer cancel()
	ack, err := w.client.js.Publish(ctx, w.client.cfg.withdrawnSubject(), encodeWithdrawals(term, some), jetstream.WithExpectLastSequence(last))
	if err != nil {
		return 0, fmt.Errorf("record withdrawals: %w", err)
	}
	return ack.Sequence, nil
}

// A record is the term, a count, and that many epochs and sequences, as uvarints.
func encodeWithdrawals(term uint64, batch []withdrawal) []byte {
	b := binary.AppendUvarint(nil, term)
	b = binary.AppendUvarint(b, uint64(len(batch)))
	for _, w := range batch {
		b = appendOffset(b, w.offset)
	}
	return b
}

func decodeWithdrawals(data []byte) (term uint64, offsets []bridge.Offset, err error) {
	r := &varint.Reader{Rest: data}
	term = r.Uint()
	offsets = make([]bridge.Offset, r.Count(2))
	for i := range offsets {
		offsets[i] = readOffset(r)
	}
	if !r.Done() {
		return 0, nil, errRecord
	}
	return term, offsets, nil
}
