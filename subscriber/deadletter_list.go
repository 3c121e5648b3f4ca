package subscriber

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/codewar/socketbridge/bridge"
)

// recentLimit bounds reading the newest letters: an operator waits for the answer.
const recentLimit = 2 * time.Second

var (
	// ErrNoDeadLetter means that no dead letter has that sequence, or that it was deleted.
	ErrNoDeadLetter = errors.New("no such dead letter")

	errNoLetters = fmt.Errorf("%w: no answer within %v", bridge.ErrUnavailable, recentLimit)
)

// DeadLetters is an operator's access to the dead letters. It needs NATS and no bridge. Any number
// of them may be used at the same time: letters that another operator deletes meanwhile are skipped.
// Errors that wrap [bridge.ErrUnavailable] concern all letters, others only one.
type DeadLetters struct {
	*cliConn
	stream jetstream.Stream // of the dead letters
}

// OpenDeadLetters connects to NATS: to cfg.URL, or without one to the embedded
// server of a bridge that runs on this machine. Unlike [Open] it fails when NATS
// is not available, and a lost connection is not made again.
func OpenDeadLetters(ctx context.Context, cfg Config, log *slog.Logger) (*DeadLetters, error) {
	c, err := dialCLI(cfg, "dead letters", log)
	if err != nil {
		return nil, err
	}
	d := &DeadLetters{cliConn: c}
	name := c.cfg.DeadLetter.Stream
	if d.stream, err = d.js.Stream(ctx, name); err != nil {
		d.Close()
		return nil, fmt.Errorf("look up stream %s, which a bridge creates at its first start: %w", name, fault(ctx, err))
	}
	return d, nil
}

// Read returns one letter with its body, or [ErrNoDeadLetter].
func (d *DeadLetters) Read(ctx context.Context, seq uint64) (DeadLetter, error) {
	m, err := d.stream.GetMsg(ctx, seq)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return DeadLetter{}, ErrNoDeadLetter
	case err != nil:
		return DeadLetter{}, fmt.Errorf("read dead letter: %w", fault(ctx, err))
	}
	l := readDeadLetter(m.Sequence, m.Time, m.Subject, m.Header, len(m.Data))
	l.Body = m.Data
	return l, nil
}

// Delete removes one letter, or returns [ErrNoDeadLetter].
func (d *DeadLetters) Delete(ctx context.Context, seq uint64) error {
	err := d.stream.DeleteMsg(ctx, seq)
	if err == nil {
		return nil
	}
	// The server has no error code for a letter that does not exist.
	if _, gone := d.stream.GetMsg(ctx, seq); errors.Is(gone, jetstream.ErrMsgNotFound) {
		return ErrNoDeadLetter
	}
	return fmt.Errorf("delete dead letter: %w", fault(ctx, err))
}

// fault wraps an error in [bridge.ErrUnavailable], unless the server has refused the request.
func fault(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, bridge.ErrUnavailable), apiError(err) != nil:
		return err
	}
	return fmt.Errorf("%w: %w", bridge.ErrUnavailable, err)
}

// Selection says which letters are meant. The zero value means all.
type Selection struct {
	Code  string        // only with this code, in any case
	Older time.Duration // only of this age or more; zero: no bound
	Newer time.Duration // only of this age or less; zero: no bound
}

// List returns the selected letters, oldest first, without their bodies. It holds one fetch of
// letters in memory, whatever their number. Letters that are stored meanwhile are left out:
// otherwise a replay of all letters, which become dead letters again, would not end. An error
// comes with no letter and is the last.
func (d *DeadLetters) List(ctx context.Context, s Selection) iter.Seq2[DeadLetter, error] {
	return func(yield func(DeadLetter, error) bool) {
		now := time.Now()
		err := readStream(ctx, d.stream, s.consumer(d.cfg.deadSubjects(), now), func(m storedMsg) bool {
			l := bodyless(m)
			return (s.Older <= 0 || now.Sub(l.At) >= s.Older) && yield(l, nil)
		})
		if err != nil {
			yield(DeadLetter{}, fmt.Errorf("list dead letters: %w", fault(ctx, err)))
		}
	}
}

// RecentDeadLetters returns the newest dead letters, at most limit, without their
// bodies and newest first, and the number of all letters. [bridge.ErrUnavailable]
// means that NATS does not answer.
func (c *Client) RecentDeadLetters(ctx context.Context, limit int) (newest []DeadLetter, total uint64, err error) {
	if err := c.conn.err(); err != nil {
		return nil, 0, err
	}
	ctx, cancel := c.conn.while(ctx)
	defer cancel()
	ctx, cancelLimit := context.WithTimeoutCause(ctx, recentLimit, errNoLetters)
	defer cancelLimit()
	newest, total, err = c.recentDeadLetters(ctx, uint64(max(limit, 0)))
	if err != nil {
		return nil, 0, fmt.Errorf("read dead letters: %w", fault(ctx, err))
	}
	return newest, total, nil
}

func (c *Client) recentDeadLetters(ctx context.Context, limit uint64) (newest []DeadLetter, total uint64, err error) {
	stream, err := c.js.Stream(ctx, c.cfg.DeadLetter.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, 0, nil // no letter yet
	}
	if err != nil {
		return nil, 0, err
	}
	state := stream.CachedInfo().State
	if state.Msgs == 0 || limit == 0 {
		return nil, state.Msgs, nil
	}
	config := Selection{}.consumer(c.cfg.deadSubjects(), state.LastTime)
	config.DeliverPolicy = jetstream.DeliverByStartSequencePolicy
	config.OptStartSeq = max(state.FirstSeq, state.LastSeq+1-min(limit, state.LastSeq))
	err = readStream(ctx, stream, config, func(m storedMsg) bool {
		newest = append(newest, bodyless(m))
		return uint64(len(newest)) < limit
	})
	slices.Reverse(newest)
	return newest, state.Msgs, err
}

// consumer configures a reader of the selected letters. subjects is their prefix.
func (s Selection) consumer(subjects string, now time.Time) jetstream.ConsumerConfig {
	c := jetstream.ConsumerConfig{
		FilterSubject: subjects + cmp.Or(strings.ToLower(s.Code), ">"),
		HeadersOnly:   true,
	}
	if s.Newer > 0 {
		from := now.Add(-s.Newer)
		c.DeliverPolicy, c.OptStartTime = jetstream.DeliverByStartTimePolicy, &from
	}
	return c
}

// bodyless is a letter that came without its body: the server says its size in a header.
func bodyless(m storedMsg) DeadLetter {
	size, _ := strconv.Atoi(m.Headers().Get(nats.MsgSize))
	return readDeadLetter(m.Sequence.Stream, m.Timestamp, m.Subject(), m.Headers(), size)
}
