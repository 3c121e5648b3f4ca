package subscriber

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/codewar/socketbridge/bridge"
)

// errWentBack means that the stream is in an earlier state: a backup was restored, or
// its newest messages are lost. Sequences are used a second time.
var errWentBack = errors.New("stream went back to an earlier state")

// errWhole means that nats-server was restoring the stream, and has finished.
var errWhole = errors.New("stream was being restored")

// lineage is the epochs of the stream's offsets: one for its creation, and one for each time that
// it went back. The lease has it. Immutable.
type lineage struct {
	Created  uint64          `json:"created,omitempty"`  // when the stream was created, ms since 1970
	Branches []bridge.Offset `json:"branches,omitempty"` // where each later epoch began, oldest first
}

// epoch is the current epoch of the stream with that time of creation.
func (l *lineage) epoch(created uint64) uint64 { return l.begin(created).Epoch }

// begin is where the current epoch began.
func (l *lineage) begin(created uint64) bridge.Offset {
	if l == nil || l.Created != created || len(l.Branches) == 0 {
		return bridge.Offset{Epoch: created}
	}
	return l.Branches[len(l.Branches)-1]
}

// continues reports whether an offset of any epoch is an offset of the current stream.
func (l *lineage) continues(created uint64, o bridge.Offset) bool {
	epochs := l.epochs(created)
	for i, b := range epochs {
		if o.Epoch == b.Epoch {
			return i+1 == len(epochs) || o.Seq <= epochs[i+1].Seq
		}
	}
	return false
}

// epochs is where each epoch began, oldest first. Offsets of an epoch are valid up to the begin of the
// next one.
func (l *lineage) epochs(created uint64) []bridge.Offset {
	first := []bridge.Offset{{Epoch: created}}
	switch {
	case l == nil || l.Created != created || len(l.Branches) == 0:
		return first
	case l.Branches[0].Seq == 0: // it has no message of the stream before
		return l.Branches
	}
	return append(first, l.Branches...)
}

// maxBranches bounds a lineage. Clients with cursors of older epochs are told a gap.
const maxBranches = 16

// branch returns the lineage after the stream went back to a sequence. Its epoch is greater than
// any that offsets had.
func (l *lineage) branch(created, seq uint64, now time.Time) *lineage {
	var before []bridge.Offset
	if l != nil && l.Created == created {
		before = l.Branches
	}
	return extend(created, before, seq, max(uint64(now.UnixMilli()), l.epoch(created)+1))
}

// adopt returns the lineage of a stream that has the messages of another stream, of that epoch, up to a
// sequence.
func (l *lineage) adopt(created, epoch, seq uint64, now time.Time) *lineage {
	before := []bridge.Offset{{Epoch: epoch}}
	if l != nil && l.epoch(l.Created) == epoch {
		before = l.epochs(l.Created)
	}
	return extend(created, before, seq, max(uint64(now.UnixMilli()), created+1, epoch+1))
}

// extend returns a lineage with a new epoch after a sequence, and the epochs before that began there
// or earlier.
func extend(created uint64, before []bridge.Offset, seq, epoch uint64) *lineage {
	var kept []bridge.Offset
	for _, b := range before {
		if b.Seq <= seq {
			kept = append(kept, b)
		}
	}
	if n := len(kept) - maxBranches + 1; n > 0 {
		if kept[0].Seq == 0 {
			kept[n].Seq = 0 // the oldest epoch begins where the stream does
		}
		kept = kept[n:]
	}
	return &lineage{Created: created, Branches: append(kept, bridge.Offset{Epoch: epoch, Seq: seq})}
}

// later returns the one of two lineages that has the greater epoch.
func (l *lineage) later(other *lineage) *lineage {
	switch {
	case other == nil:
		return l
	case l == nil, l.epoch(l.Created) < other.epoch(other.Created):
		return other
	}
	return l
}

// isBack reports whether the stream does not have a message that it had before.
func (s *readSession) isBack(ctx context.Context, now streamState, mark bridge.StoredMessage) (bool, error) {
	switch {
	case mark.Offset.Epoch != now.epoch:
		return false, nil
	case mark.Offset.Seq > now.last:
		return true, nil
	case mark.Stored.IsZero() || mark.Offset.Seq < now.first:
		return false, nil
	}
	stored, err := s.storedAt(ctx, now, mark.Offset.Seq)
	return stored != 0 && stored != mark.Stored.UnixMilli(), err
}

// storedAt is when the stream stored a message, in ms; zero when it does not have it.
// With a subject it is that of the first message of the subject from there on.
func (s *readSession) storedAt(ctx context.Context, now streamState, seq uint64, subject ...jetstream.GetMsgOpt) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, apiLimit)
	defer cancel()
	m, err := now.stream.GetMsg(ctx, seq, subject...)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("look at message %d: %w", seq, err)
	}
	return m.Time.UnixMilli(), nil
}

// recognise returns errWentBack when the stream is not the one that this reader or an earlier leader
// has read. A leader then begins a new epoch, with its next term.
func (s *readSession) recognise(ctx context.Context, now streamState) error {
	if s.term > 0 && s.intake.client.embedded.isTorn() {
		s.intake.election.branch(now.created, now.last)
		s.intake.log.Error("the machine ended without a stop, the stream's newest messages may be lost, a new epoch begins", "stream_seq", now.last)
		return errWentBack
	}
	for _, mark := range []bridge.StoredMessage{s.intake.index.Newest(), s.mark} {
		seen, err := s.look(ctx, now, mark)
		switch {
		case err != nil:
			return err
		case !seen.wentBack():
			continue
		case s.term == 0:
			return errWentBack
		}
		if now, seen, err = s.settled(ctx, now, seen, mark); err != nil {
			return err
		}
		if !seen.wentBack() {
			return errWhole
		}
		seq := cmp.Or(seen.same, seen.copied)
		if seen.back {
			s.intake.election.branch(now.created, seq)
		} else {
			s.intake.election.adopt(now.created, mark.Offset.Epoch, seq)
		}
		s.intake.log.Error("the stream went back to an earlier state, a new epoch begins", "stream_seq", seq, "last", now.last, "read", mark.Offset.String())
		return errWentBack
	}
	return nil
}

// compared is the result of comparing the stream with a message that it had before.
type compared struct {
	back   bool   // the stream ends before that message, or has another one at its sequence
	copied uint64 // the stream is a copy, up to here, of the stream that had the message; zero: it is none
	same   uint64 // the stream is unchanged up to here; only for a leader, after the stream went back
}

func (c compared) wentBack() bool { return c.back || c.copied > 0 }

func (s *readSession) look(ctx context.Context, now streamState, mark bridge.StoredMessage) (seen compared, err error) {
	if seen.back, err = s.isBack(ctx, now, mark); err == nil && !seen.back {
		seen.copied, err = s.copied(ctx, now, mark)
	}
	if err == nil && seen.wentBack() && s.term > 0 {
		seen.same, err = s.branchedAt(ctx, now)
	}
	return seen, err
}

// settlePause is the time between two looks at a stream that went back, and settleLooks their greatest
// number.
const (
	settlePause = time.Second
	settleLooks = 30
)

// settled looks at the stream until two looks in a row are equal. While nats-server restores a stream,
// it reports only the part that it has read (measured with 2.15.3: 48 of 210 messages). In an epoch that
// began there, the rest would be dispatched again.
func (s *readSession) settled(ctx context.Context, now streamState, seen compared, mark bridge.StoredMessage) (streamState, compared, error) {
	for range settleLooks {
		if err := s.intake.client.pause(ctx, settlePause); err != nil {
			return now, seen, err
		}
		next, err := s.intake.client.streams.ensure(ctx)
		if err != nil {
			return now, seen, err
		}
		again, err := s.look(ctx, next, mark)
		if err != nil || again == seen && next.created == now.created {
			return next, again, err
		}
		now, seen = next, again
	}
	return now, seen, nil
}

// copied returns the last sequence up to which the stream is a copy of an older stream that had a
// message, zero when it is none. A restored stream has a new time of creation. Its messages were stored
// before that message; those of an empty new stream were not.
func (s *readSession) copied(ctx context.Context, now streamState, mark bridge.StoredMessage) (uint64, error) {
	known := func(epoch bridge.Offset) bool { return epoch.Epoch == mark.Offset.Epoch }
	if mark.Stored.IsZero() || slices.ContainsFunc(now.lineage.epochs(now.created), known) {
		return 0, nil
	}
	return s.upTo(ctx, now, mark.Stored)
}

// upTo is the last sequence that was stored at a time or earlier, zero when there is none.
func (s *readSession) upTo(ctx context.Context, now streamState, at time.Time) (uint64, error) {
	if now.last == 0 {
		return 0, nil
	}
	var failed error
	span := int(now.last - now.first + 1)
	n := sort.Search(span, func(i int) bool {
		stored, err := s.storedAt(ctx, now, now.first+uint64(i), jetstream.WithGetMsgSubject(s.prefix+">"))
		if err != nil {
			failed = err
		}
		return failed != nil || stored == 0 || stored > at.UnixMilli()
	})
	if failed != nil || n == 0 {
		return 0, failed
	}
	return now.first + uint64(n) - 1, nil
}

// branchedAt is the last sequence at which the stream agrees with the index of this reader, zero when
// there is none.
func (s *readSession) branchedAt(ctx context.Context, now streamState) (uint64, error) {
	known := s.intake.index.Stored()
	if at := s.intake.index.StoredAt(s.mark.Offset); !s.mark.Stored.IsZero() && !at.IsZero() && at.UnixMilli() != s.mark.Stored.UnixMilli() {
		known = nil // the index was read after the stream went back
	}
	var failed error
	same := sort.Search(len(known), func(i int) bool {
		if known[i].Offset.Seq > now.last || failed != nil {
			return true
		}
		stored, err := s.storedAt(ctx, now, known[i].Offset.Seq)
		if err != nil {
			failed = err
		}
		return stored != 0 && stored != known[i].Stored.UnixMilli()
	})
	switch {
	case failed != nil:
		return 0, failed
	case same > 0:
		return known[same-1].Offset.Seq, nil
	case s.mark.Offset.Seq <= now.last || len(known) > 0:
		return 0, nil
	case s.mark.Stored.IsZero():
		return now.last, nil
	}
	return s.upTo(ctx, now, s.mark.Stored) // the stream is shorter than before, so its messages of that time are the old ones
}

// sleep waits, and returns the context's cause when that ends before.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
