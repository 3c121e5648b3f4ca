package subscriber

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/codewar/socketbridge/bridge"
)

// recordBytes is what the stream keeps for each record: about 110 bytes of the record, and its
// share of a message with a hundred records or so.
const recordBytes = 128

// RecordsConfig bounds what is kept of delivery records.
type RecordsConfig struct {
	Most int           // about how many records are kept; 0: none
	TTL  time.Duration // for how long
}

// Records keeps delivery records in a stream of their own. Each message of the stream has the
// records of one block that were saved at the same time, and the block is its subject. The
// stream is created when the first record is saved; an existing one is used as it is.
// It implements [bridge.Records]. Safe for concurrent use.
type Records struct {
	client *Client
	cfg    RecordsConfig

	mu     sync.Mutex // guards stream
	stream jetstream.Stream
}

// NewRecords returns the delivery records of this deployment.
func (c *Client) NewRecords(cfg RecordsConfig) *Records { return &Records{client: c, cfg: cfg} }

func (r *Records) config() jetstream.StreamConfig {
	cfg := r.client.cfg
	return jetstream.StreamConfig{
		Name: cfg.recordStream(), Subjects: []string{cfg.recordSubjects() + ">"},
		Description: "what happened to each message, for operators, see codewar/socketbridge",
		Storage:     jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld,
		MaxAge: r.cfg.TTL, MaxBytes: max(1<<20, int64(r.cfg.Most)*recordBytes), Replicas: cfg.Stream.Replicas,
		Duplicates: min(r.cfg.TTL, 2*time.Minute),
	}
}

func (r *Records) subject(block bridge.Offset) string {
	return r.client.cfg.recordSubjects() + strconv.FormatUint(block.Epoch, 10) + "." + strconv.FormatUint(block.Seq, 10)
}

// open returns the stream, and creates it when it does not exist.
func (r *Records) open(ctx context.Context) (jetstream.Stream, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stream != nil {
		return r.stream, nil
	}
	stream, err := r.client.streams.adopt(ctx, r.config())
	r.stream = stream
	return stream, err
}

// lost has the next call look for the stream again: it may have been deleted.
func (r *Records) lost() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stream = nil
}

// SaveRecords returns the first error and does not save what follows.
func (r *Records) SaveRecords(ctx context.Context, blocks []bridge.RecordBlock) error {
	if _, err := r.open(ctx); err != nil {
		return fmt.Errorf("save delivery records: %w", err)
	}
	ctx, cancel := r.client.conn.while(ctx)
	defer cancel()
	for _, b := range blocks {
		if _, err := r.client.js.Publish(ctx, r.subject(b.Block), b.Data, jetstream.WithRetryAttempts(0)); err != nil {
			r.lost()
			return fmt.Errorf("save delivery records: %w", err)
		}
	}
	return nil
}

// Record reads all records of the message's block.
func (r *Records) Record(ctx context.Context, at bridge.Offset) (bridge.DeliveryRecord, error) {
	found, err := r.read(ctx, bridge.RecordBlockOf(at))
	if err != nil {
		return bridge.DeliveryRecord{}, err
	}
	return bridge.FindRecord(found[0].Data, at)
}

// RecordsOf ends the search at a window without any record: blocks follow one another
// without a gap.
func (r *Records) RecordsOf(ctx context.Context, user bridge.UserID, from bridge.Offset) (found []bridge.DeliveryRecord, next bridge.Offset, err error) {
	newest := bridge.RecordBlockOf(from)
	var window []bridge.Offset
	for block := newest; len(window) < bridge.RecordWindow; block.Seq-- {
		if window = append(window, block); block.Seq == 0 {
			break
		}
	}
	blocks, err := r.read(ctx, window...)
	if err != nil {
		return nil, bridge.Offset{}, err
	}
	empty := true
	for _, b := range blocks {
		empty = empty && len(b.Data) == 0
		found = append(found, bridge.RecordsIn(b, user)...)
	}
	if last := window[len(window)-1]; last.Seq > 0 && !empty {
		next = bridge.RecordBlockEnd(bridge.Offset{Epoch: last.Epoch, Seq: last.Seq - 1})
	}
	return found, next, nil
}

// read returns what is kept of each block.
func (r *Records) read(ctx context.Context, window ...bridge.Offset) ([]bridge.RecordBlock, error) {
	if r.cfg.Most == 0 {
		return make([]bridge.RecordBlock, len(window)), nil
	}
	stream, err := r.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("read delivery records: %w", err)
	}
	ctx, cancel := r.client.conn.while(ctx)
	defer cancel()
	blocks, at := make([]bridge.RecordBlock, len(window)), make(map[string]int, len(window))
	subjects := make([]string, len(window))
	for i, block := range window {
		blocks[i].Block, subjects[i] = block, r.subject(block)
		at[subjects[i]] = i
	}
	err = readStream(ctx, stream, jetstream.ConsumerConfig{FilterSubjects: subjects}, func(m storedMsg) bool {
		b := &blocks[at[m.Subject()]]
		b.Data = append(b.Data, m.Data()...)
		return true
	})
	if err != nil {
		if errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrNoStreamResponse) {
			r.lost()
		}
		return nil, fmt.Errorf("read delivery records: %w", fault(ctx, err))
	}
	return blocks, nil
}
