package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/codewar/socketbridge/bridge"
)

// headerPoison marks what must end as a dead letter.
const headerPoison = "Chaos-Poison"

// entry is one message as the stream holds it.
type entry struct {
	offset bridge.Offset
	stored time.Time
	user   string
	n      uint64 // its publisher's number
	poison bool
	drop   bool // of no use to a user who is away: a POST that did not ask to be queued
}

// payload is what publishers write.
type payload struct {
	User string `json:"userId,omitempty"`
	N    uint64 `json:"n"`
	Pad  string `json:"pad,omitempty"`
}

// truth is what the stream holds, and held before it was made anew.
type truth struct {
	js      jetstream.JetStream
	entries []entry
	last    bridge.Offset // of what was read so far
}

// update reads what is new. It must be called before the stream is deleted.
func (t *truth) update(ctx context.Context) error {
	stream, err := t.js.Stream(ctx, "CODEWAR")
	if err != nil {
		return fmt.Errorf("look at the stream: %w", err)
	}
	info := stream.CachedInfo()
	if epoch := uint64(info.Created.UnixMilli()); epoch != t.last.Epoch {
		t.last = bridge.Offset{Epoch: epoch}
	}
	if info.State.LastSeq <= t.last.Seq {
		return nil
	}
	return each(ctx, stream, t.last.Seq+1, info.State.LastSeq, func(m jetstream.Msg, at *jetstream.MsgMetadata) error {
		t.last.Seq = at.Sequence.Stream
		if strings.HasSuffix(m.Subject(), "."+bridge.CanaryTopic) {
			return nil // the bridges' own
		}
		t.entries = append(t.entries, newEntry(m, at, t.last))
		return nil
	})
}

func newEntry(m jetstream.Msg, at *jetstream.MsgMetadata, offset bridge.Offset) entry {
	e := entry{offset: offset, stored: at.Timestamp, poison: m.Headers().Get(headerPoison) != ""}
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

// deadLetters counts the dead letters of each offset.
func deadLetters(ctx context.Context, js jetstream.JetStream) (map[string]int, error) {
	stream, err := js.Stream(ctx, "BRIDGE_DEAD")
	if err != nil {
		return nil, fmt.Errorf("look at the dead letters: %w", err)
	}
	dead := make(map[string]int)
	last := stream.CachedInfo().State.LastSeq
	if last == 0 {
		return dead, nil
	}
	err = each(ctx, stream, 1, last, func(m jetstream.Msg, _ *jetstream.MsgMetadata) error {
		dead[m.Headers().Get("Bridge-Dead-Offset")]++
		return nil
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
