package subscriber

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/codewar/socketbridge/bridge"
)

// lettersLimit bounds reading them: an operator waits for the answer.
const lettersLimit = 2 * time.Second

var errNoLetters = fmt.Errorf("%w: no answer within %v", bridge.ErrUnavailable, lettersLimit)

// RecentLetters returns the newest dead letters, at most limit, without their
// bodies and newest first, and how many there are in all. [bridge.ErrUnavailable]
// means that NATS does not answer.
func (c *Client) RecentLetters(ctx context.Context, limit int) (newest []Letter, total uint64, err error) {
	if err := c.conn.err(); err != nil {
		return nil, 0, err
	}
	ctx, cancel := c.conn.while(ctx)
	defer cancel()
	ctx, cancelLimit := context.WithTimeoutCause(ctx, lettersLimit, errNoLetters)
	defer cancelLimit()
	newest, total, err = c.recentLetters(ctx, uint64(max(limit, 0)))
	if err != nil {
		return nil, 0, fmt.Errorf("read dead letters: %w", fault(ctx, err))
	}
	return newest, total, nil
}

func (c *Client) recentLetters(ctx context.Context, limit uint64) (newest []Letter, total uint64, err error) {
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
	consumer, err := stream.CreateConsumer(ctx, config)
	if err != nil {
		return nil, 0, err
	}
	d := DeadLetters{stream: stream}
	defer d.remove(ctx, consumer)
	r := letterReader{consumer: consumer, pending: consumer.CachedInfo().NumPending}
	for r.pending > 0 && uint64(len(newest)) < limit {
		letters, err := r.next(ctx)
		if err != nil {
			return nil, 0, err
		}
		newest = append(newest, letters...)
	}
	slices.Reverse(newest)
	return newest[:min(uint64(len(newest)), limit)], state.Msgs, nil
}

// userOf reads a dead letter's user, as [bridge.GuessUser] found it.
func userOf(escaped string) bridge.UserID {
	user, err := url.PathUnescape(escaped)
	if err != nil || !bridge.ValidUserID(user) {
		return ""
	}
	return bridge.UserID(user)
}
