package subscriber

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/codewar/socketbridge/bridge"
)

const (
	// readBatch is how many messages are held at a time.
	readBatch = 200
	// readerTTL is when the server removes a reader that asks for no further messages. It
	// covers what the caller does with one batch; a replay of dead letters takes the longest.
	readerTTL = 10 * time.Minute
)

var (
	errSilent  = fmt.Errorf("%w: messages that are stored do not arrive", bridge.ErrUnavailable)
	errMissing = fmt.Errorf("%w: a stored message was lost on the way", bridge.ErrUnavailable)
)

// storedMsg is a message that was read from a stream.
type storedMsg struct {
	jetstream.Msg
	*jetstream.MsgMetadata
}

// readStream calls take with each message of the stream that cfg selects, oldest first, until
// take returns false. Messages that are stored during the call may be left out. It sets the
// fields of cfg that do not select.
func readStream(ctx context.Context, stream jetstream.Stream, cfg jetstream.ConsumerConfig, take func(storedMsg) bool) error {
	info, err := stream.Info(ctx)
	if err != nil {
		return err
	}
	cfg.AckPolicy, cfg.MemoryStorage, cfg.InactiveThreshold = jetstream.AckNonePolicy, true, readerTTL
	consumer, err := stream.CreateConsumer(ctx, cfg)
	if err != nil {
		return err
	}
	defer removeConsumer(ctx, stream, consumer)
	r := streamReader{consumer: consumer, pending: consumer.CachedInfo().NumPending}
	for r.pending > 0 {
		batch, err := r.next(ctx)
		if err != nil {
			return err
		}
		for _, m := range batch {
			if m.Sequence.Stream > info.State.LastSeq || !take(m) {
				return nil
			}
		}
	}
	return nil
}

// removeConsumer spares the server a consumer that it would remove by itself later.
func removeConsumer(ctx context.Context, stream jetstream.Stream, consumer jetstream.Consumer) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = stream.DeleteConsumer(ctx, consumer.CachedInfo().Name)
}

// streamReader reads a consumer to its end.
type streamReader struct {
	consumer jetstream.Consumer
	seen     uint64 // consumer sequence of the last message
	pending  uint64 // how many follow it
}

// next returns the next messages. The library takes a second of silence for the end, so next asks
// the server whether what is missing was deleted or lost.
func (r *streamReader) next(ctx context.Context) ([]storedMsg, error) {
	want := int(min(readBatch, r.pending))
	batch, err := r.consumer.FetchNoWait(want)
	if err != nil {
		return nil, err
	}
	msgs := make([]storedMsg, 0, want)
	for m := range batch.Messages() {
		meta, err := m.Metadata()
		if err != nil {
			return nil, err
		}
		if meta.Sequence.Consumer != r.seen+1 {
			return nil, errMissing
		}
		r.seen, r.pending = meta.Sequence.Consumer, meta.NumPending
		msgs = append(msgs, storedMsg{m, meta})
	}
	if err := batch.Error(); err != nil {
		return nil, err
	}
	if len(msgs) == want {
		return msgs, nil
	}
	info, err := r.consumer.Info(ctx)
	switch {
	case err != nil:
		return nil, err
	case info.Delivered.Consumer != r.seen:
		return nil, errMissing
	case info.NumPending > 0 && len(msgs) == 0:
		return nil, errSilent
	}
	r.pending = info.NumPending
	return msgs, nil
}
