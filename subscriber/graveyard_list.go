package subscriber

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/codewar/socketbridge/bridge"
)

const (
	// page is how many letters, without bodies, are held at a time.
	page = 200
	// pageLife is when the server forgets a reader that asks for no further page.
	// It covers what the caller does with one page, a replay being the longest.
	pageLife = 10 * time.Minute
)

var (
	errSilent = fmt.Errorf("%w: letters that are there do not arrive", bridge.ErrUnavailable)
	errLetter = fmt.Errorf("%w: a letter was lost on the way", bridge.ErrUnavailable)
)

// Selection says which letters are meant. The zero value means all.
type Selection struct {
	Code  string        // only with this code, in any case
	Older time.Duration // only of this age or more; zero: no bound
	Newer time.Duration // only of this age or less; zero: no bound
}

// List goes through the selected letters, oldest first, without their bodies. It
// reads page by page, so that their number does not matter. Letters that are
// stored meanwhile are left out: replaying all would otherwise never end when
// they die again. An error comes with no letter and is the last.
func (d *DeadLetters) List(ctx context.Context, s Selection) iter.Seq2[Letter, error] {
	return func(yield func(Letter, error) bool) {
		if err := d.list(ctx, s, yield); err != nil {
			yield(Letter{}, fmt.Errorf("list dead letters: %w", err))
		}
	}
}

// list returns an error only while yield wants more.
func (d *DeadLetters) list(ctx context.Context, s Selection, yield func(Letter, error) bool) error {
	now := time.Now()
	info, err := d.stream.Info(ctx)
	if err != nil {
		return fault(ctx, err)
	}
	consumer, err := d.stream.CreateConsumer(ctx, s.consumer(d.cfg.deadSubjects(), now))
	if err != nil {
		return fault(ctx, err)
	}
	defer d.remove(ctx, consumer)

	r := letterReader{consumer: consumer, pending: consumer.CachedInfo().NumPending}
	for r.pending > 0 {
		letters, err := r.next(ctx)
		if err != nil {
			return fault(ctx, err)
		}
		for _, l := range letters {
			if l.Seq > info.State.LastSeq || s.Older > 0 && now.Sub(l.At) < s.Older {
				return nil // and all that follow
			}
			if !yield(l, nil) {
				return nil
			}
		}
	}
	return nil
}

// consumer configures a reader of the selected letters. subjects is their prefix.
func (s Selection) consumer(subjects string, now time.Time) jetstream.ConsumerConfig {
	c := jetstream.ConsumerConfig{
		FilterSubject: subjects + cmp.Or(strings.ToLower(s.Code), ">"),
		AckPolicy:     jetstream.AckNonePolicy, HeadersOnly: true,
		MemoryStorage: true, InactiveThreshold: pageLife,
	}
	if s.Newer > 0 {
		from := now.Add(-s.Newer)
		c.DeliverPolicy, c.OptStartTime = jetstream.DeliverByStartTimePolicy, &from
	}
	return c
}

// remove spares the server a consumer that it would forget by itself.
func (d *DeadLetters) remove(ctx context.Context, consumer jetstream.Consumer) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = d.stream.DeleteConsumer(ctx, consumer.CachedInfo().Name)
}

// letterReader reads a consumer to its end.
type letterReader struct {
	consumer jetstream.Consumer
	seen     uint64 // consumer sequence of the last letter
	pending  uint64 // letters that follow it
}

// next returns the next letters. The library takes a second of silence for the
// end, so what is missing is asked for: were letters deleted, or lost?
func (r *letterReader) next(ctx context.Context) ([]Letter, error) {
	want := int(min(page, r.pending))
	batch, err := r.consumer.FetchNoWait(want)
	if err != nil {
		return nil, err
	}
	letters := make([]Letter, 0, want)
	for m := range batch.Messages() {
		meta, err := m.Metadata()
		if err != nil {
			return nil, err
		}
		if meta.Sequence.Consumer != r.seen+1 {
			return nil, errLetter
		}
		r.seen, r.pending = meta.Sequence.Consumer, meta.NumPending
		letters = append(letters, bodyless(m, meta))
	}
	if err := batch.Error(); err != nil {
		return nil, err
	}
	if len(letters) == want {
		return letters, nil
	}
	info, err := r.consumer.Info(ctx)
	switch {
	case err != nil:
		return nil, err
	case info.Delivered.Consumer != r.seen:
		return nil, errLetter
	case info.NumPending > 0 && len(letters) == 0:
		return nil, errSilent
	}
	r.pending = info.NumPending
	return letters, nil
}

// bodyless is the letter in a message that came without its body: the server
// gives its size in a header.
func bodyless(m jetstream.Msg, meta *jetstream.MsgMetadata) Letter {
	size, _ := strconv.Atoi(m.Headers().Get(nats.MsgSize))
	return readLetter(meta.Sequence.Stream, meta.Timestamp, m.Subject(), m.Headers(), size)
}
