package subscriber

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/codewar/socketbridge/bridge"
)

var (
	// ErrCannotReplay means that a letter does not contain a message that can be published to the
	// stream of messages.
	ErrCannotReplay = errors.New("cannot be replayed")
	errNotOurs      = fmt.Errorf("%w: a bridge with this nats.subject_prefix did not write it", ErrCannotReplay)
	errCut          = fmt.Errorf("%w: it was cut, and the whole message is no longer in the stream", ErrCannotReplay)
)

// Replayed is the result of [DeadLetters.Replay].
type Replayed struct {
	Seq uint64 // of the message in the stream of messages
	// Already means that the letter was replayed before, within nats.stream.duplicates.
	// The message was not published again.
	Already bool
}

// Replay publishes a letter's message again unchanged, waits for the PubAck, and deletes the letter.
// A message that is still invalid becomes a new letter. When the message was published and the
// letter could not be deleted, Replay returns a result and an error.
func (d *DeadLetters) Replay(ctx context.Context, seq uint64) (Replayed, error) {
	l, err := d.Read(ctx, seq)
	if err != nil {
		return Replayed{}, err
	}
	m, err := d.original(ctx, l)
	if err != nil {
		return Replayed{}, err
	}
	ack, err := d.js.PublishMsg(ctx, m)
	if err == nil && ack.Duplicate && !d.same(ctx, m, ack.Sequence) {
		// Another message has this id, which a publisher can guess. Without a new id the letter would
		// be deleted though its message was not published.
		m.Header.Set(jetstream.MsgIDHeader, m.Header.Get(jetstream.MsgIDHeader)+"-"+rand.Text())
		ack, err = d.js.PublishMsg(ctx, m)
	}
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return Replayed{}, fmt.Errorf("publish message: %w", bridge.ErrTooLarge)
	case err != nil:
		return Replayed{}, fmt.Errorf("publish message: %w", fault(ctx, err))
	case ack.Stream != d.cfg.Stream.Name:
		return Replayed{}, fmt.Errorf("publish message: stream %s took it instead of %s", ack.Stream, d.cfg.Stream.Name)
	}
	if err := d.Delete(ctx, seq); err != nil && !errors.Is(err, ErrNoDeadLetter) {
		return Replayed{ack.Sequence, ack.Duplicate}, fmt.Errorf("published, but the letter is still there: %w", err)
	}
	return Replayed{ack.Sequence, ack.Duplicate}, nil
}

// original is the message of a letter, ready to be published. It checks the subject: any program
// that may publish to bridge.dead.> can name $JS.API.STREAM.PURGE there.
func (d *DeadLetters) original(ctx context.Context, l DeadLetter) (*nats.Msg, error) {
	if l.Offset.IsZero() || !strings.HasPrefix(l.Subject, d.cfg.SubjectPrefix+".") || !plainSubject(l.Subject) {
		return nil, errNotOurs
	}
	m := nats.NewMsg(l.Subject)
	m.Header, m.Data = replayable(l.Header), l.Body
	if l.Cut {
		whole, err := d.whole(ctx, l)
		if err != nil {
			return nil, err
		}
		m.Header, m.Data = replayable(whole.Header), whole.Data
	}
	// With the publisher's own id, which the stream may remember, the replay would be discarded as a
	// duplicate. The id has the offset because two letters can be of one message.
	m.Header.Set(jetstream.MsgIDHeader, "replay-"+l.Offset.String())
	return m, nil
}

// same reports whether message seq of the stream has the subject and the body of m.
func (d *DeadLetters) same(ctx context.Context, m *nats.Msg, seq uint64) bool {
	stream, err := d.js.Stream(ctx, d.cfg.Stream.Name)
	if err != nil {
		return false
	}
	stored, err := stream.GetMsg(ctx, seq)
	return err == nil && stored.Subject == m.Subject && bytes.Equal(stored.Data, m.Data)
}

// whole reads the message of a cut letter from the stream of messages.
func (d *DeadLetters) whole(ctx context.Context, l DeadLetter) (*jetstream.RawStreamMsg, error) {
	stream, err := d.js.Stream(ctx, d.cfg.Stream.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, errCut
	} else if err != nil {
		return nil, fmt.Errorf("look up stream %s: %w", d.cfg.Stream.Name, fault(ctx, err))
	}
	m, err := stream.GetMsg(ctx, l.Offset.Seq)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return nil, errCut
	case err != nil:
		return nil, fmt.Errorf("read whole message: %w", fault(ctx, err))
	case m.Subject != l.Subject, len(m.Data) != l.Size, !bytes.HasPrefix(m.Data, l.Body):
		return nil, errCut // another message has this sequence now
	}
	for _, added := range directHeaders {
		m.Header.Del(added)
	}
	return m, nil
}

// directHeaders are the headers that the server adds to a message that is read directly (ADR-31 of
// the NATS project).
var directHeaders = []string{jetstream.StreamHeader, jetstream.SubjectHeader, jetstream.SequenceHeader, jetstream.TimeStampHeaer, jetstream.LastSequenceHeader}

// replayable returns the headers to publish a message with again. It omits the instructions that the
// publisher gave to the server for the first publication ("only after sequence 5", "replace the
// others", "third of a batch"): they would be refused now, or do harm. The time to live is kept.
func replayable(original map[string][]string) nats.Header {
	h := make(nats.Header, len(original)+1)
	for name, values := range original {
		if !strings.HasPrefix(name, "Nats-") || name == ttlHeader {
			h[name] = values
		}
	}
	return h
}

// ttlHeader bounds how long the server keeps a message.
const ttlHeader = "Nats-TTL"
