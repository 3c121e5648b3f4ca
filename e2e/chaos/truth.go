package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/codewar/socketbridge/bridge"
)

// headerPoison marks what must end as a dead letter.
const headerPoison = "Chaos-Poison"

// entry is one message as the stream holds or held it.
type entry struct {
	seq     uint64
	stored  time.Time
	user    string
	n       uint64 // its publisher's number
	poison  bool
	drop    bool      // of no use to a user who is away: a POST that did not ask to be queued
	removed time.Time // when it was found to have left the stream; zero: it is there
}

// payload is what publishers write.
type payload struct {
	User string `json:"userId,omitempty"`
	N    uint64 `json:"n"`
	Pad  string `json:"pad,omitempty"`
}

// truth is what the stream holds, and what it held before it went back: it was made anew,
// restored or damaged. A message is known by its sequence and the time it was stored.
type truth struct {
	js      jetstream.JetStream
	entries []entry // in the order in which the stream took them
	last    uint64  // sequence up to which the stream was read
}

// update reads what is new, as long as the stream does not go back.
func (t *truth) update(ctx context.Context) error {
	stream, err := t.js.Stream(ctx, "CODEWAR")
	if err != nil {
		return fmt.Errorf("look at the stream: %w", err)
	}
	return t.read(ctx, stream, t.last+1, stream.CachedInfo().State.LastSeq, func(e entry) { t.entries = append(t.entries, e) })
}

// rescan reads the whole stream: what is no longer there, or is another message, was removed
// at that time at the earliest.
func (t *truth) rescan(ctx context.Context, at time.Time) error {
	held := make(map[uint64]entry)
	stream, err := t.js.Stream(ctx, "CODEWAR")
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		t.last = 0
	case err != nil:
		return fmt.Errorf("look at the stream: %w", err)
	default:
		state := stream.CachedInfo().State
		if err := t.read(ctx, stream, max(state.FirstSeq, 1), state.LastSeq, func(e entry) { held[e.seq] = e }); err != nil {
			return err
		}
	}
	for i := range t.entries {
		e := &t.entries[i]
		if same, ok := held[e.seq]; ok && same.stored.Equal(e.stored) && e.removed.IsZero() {
			delete(held, e.seq)
		} else if e.removed.IsZero() {
			e.removed = at
		}
	}
	for _, seq := range slices.Sorted(maps.Keys(held)) {
		t.entries = append(t.entries, held[seq])
	}
	return nil
}

// read takes the messages of publishers from one sequence to another.
func (t *truth) read(ctx context.Context, stream jetstream.Stream, from, to uint64, take func(entry)) error {
	t.last = to
	if to < from {
		return nil
	}
	return each(ctx, stream, from, to, func(m jetstream.Msg, at *jetstream.MsgMetadata) error {
		if !strings.HasSuffix(m.Subject(), "."+bridge.CanaryTopic) { // those are the bridges' own
			take(newEntry(m, at))
		}
		return nil
	})
}

func newEntry(m jetstream.Msg, at *jetstream.MsgMetadata) entry {
	e := entry{seq: at.Sequence.Stream, stored: at.Timestamp, poison: m.Headers().Get(headerPoison) != ""}
	e.drop = m.Headers().Get(bridge.HeaderOffline) == bridge.OfflineDrop
	var p payload
	if !e.poison && json.Unmarshal(m.Data(), &p) == nil {
		e.user, e.n = p.User, p.N
	}
	return e
}

// each reads a stream from one sequence to another.
func each(ctx context.Context, stream jetstream.Stream, from, to uint64, do func(jetstream.Msg, *jetstream.MsgMetadata) error) error {
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from,
	})
	if err != nil {
		return fmt.Errorf("read the stream: %w", err)
	}
	msgs, err := consumer.Messages()
	if err != nil {
		return fmt.Errorf("read the stream: %w", err)
	}
	defer msgs.Stop()
	for {
		m, err := msgs.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("read the stream: %w", err)
		}
		at, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("read the stream: %w", err)
		}
		if err := do(m, at); err != nil || at.Sequence.Stream >= to {
			return err
		}
	}
}

// deadLetters counts the dead letters of each sequence.
func deadLetters(ctx context.Context, js jetstream.JetStream) (map[uint64]int, error) {
	stream, err := js.Stream(ctx, "BRIDGE_DEAD")
	if err != nil {
		return nil, fmt.Errorf("look at the dead letters: %w", err)
	}
	dead := make(map[uint64]int)
	last := stream.CachedInfo().State.LastSeq
	if last == 0 {
		return dead, nil
	}
	err = each(ctx, stream, 1, last, func(m jetstream.Msg, _ *jetstream.MsgMetadata) error {
		offset, err := bridge.ParseOffset(m.Headers().Get("Bridge-Dead-Offset"))
		dead[offset.Seq]++
		return err
	})
	return dead, err
}

// connect opens a connection that outlives restarts of the server.
func connect(url string) (*nats.Conn, jetstream.JetStream, error) {
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.ReconnectJitter(50*time.Millisecond, 0))
	if err != nil {
		return nil, nil, fmt.Errorf("connect to nats: %w", err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, nil, fmt.Errorf("open jetstream: %w", err)
	}
	return nc, js, nil
}
