package subscriber

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/codewar/socketbridge/bridge"
)

// ErrNoLetter means that there is no dead letter of that sequence, or no longer.
var ErrNoLetter = errors.New("no such dead letter")

// DeadLetters is an operator's access to the messages that broke the rules. It
// needs NATS and not a bridge, and may be used beside any number of them: what
// another operator deletes at the same time is skipped. Errors that wrap
// [bridge.ErrUnavailable] concern all letters, others only the one.
type DeadLetters struct {
	*visitor
	stream jetstream.Stream // the dead letters'
}

// OpenDeadLetters connects to NATS: to cfg.URL, or without one to the embedded
// server of a bridge that runs on this machine. Unlike [Open] it fails when NATS
// is not there, and a connection that is lost is not made again.
func OpenDeadLetters(ctx context.Context, cfg Config, log *slog.Logger) (*DeadLetters, error) {
	v, err := visit(cfg, "dead letters", log)
	if err != nil {
		return nil, err
	}
	d := &DeadLetters{visitor: v}
	name := v.cfg.DeadLetter.Stream
	if d.stream, err = d.js.Stream(ctx, name); err != nil {
		d.Close()
		return nil, fmt.Errorf("look up stream %s, which a bridge creates at its first start: %w", name, fault(ctx, err))
	}
	return d, nil
}

// Letter returns one letter with its body, or [ErrNoLetter].
func (d *DeadLetters) Letter(ctx context.Context, seq uint64) (Letter, error) {
	m, err := d.stream.GetMsg(ctx, seq)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return Letter{}, ErrNoLetter
	case err != nil:
		return Letter{}, fmt.Errorf("read dead letter: %w", fault(ctx, err))
	}
	l := readLetter(m.Sequence, m.Time, m.Subject, m.Header, len(m.Data))
	l.Body = m.Data
	return l, nil
}

// Delete removes one letter. [ErrNoLetter] says that it was not there.
func (d *DeadLetters) Delete(ctx context.Context, seq uint64) error {
	err := d.stream.DeleteMsg(ctx, seq)
	if err == nil {
		return nil
	}
	// The server has no code of its own for "was not there".
	if _, gone := d.stream.GetMsg(ctx, seq); errors.Is(gone, jetstream.ErrMsgNotFound) {
		return ErrNoLetter
	}
	return fmt.Errorf("delete dead letter: %w", fault(ctx, err))
}

// fault tells what the server refused from what never got an answer, which is
// [bridge.ErrUnavailable].
func fault(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, bridge.ErrUnavailable) {
		return err
	}
	if answer, ok := errors.AsType[jetstream.JetStreamError](err); ok && answer.APIError() != nil {
		return err
	}
	return fmt.Errorf("%w: %w", bridge.ErrUnavailable, err)
}
