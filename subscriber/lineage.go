package subscriber

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/codewar/socketbridge/bridge"
)

// errWentBack means that the stream was put back to an earlier state: a backup was restored, or
// its newest messages are lost. Its sequences are used a second time.
var errWentBack = errors.New("stream went back to an earlier state")

// lineage is the epochs of the stream's offsets: that of its creation, and one more each time that
// it went back. It is kept with the lease. Immutable.
type lineage struct {
	Created  uint64          `json:"created,omitempty"`  // of the stream that this is about, ms since 1970
	Branches []bridge.Offset `json:"branches,omitempty"` // where each later epoch began, oldest first
}

// epoch is the present epoch of the stream that was created then.
func (l *lineage) epoch(created uint64) uint64 { return l.begin(created).Epoch }

// begin is where the present epoch began.
func (l *lineage) begin(created uint64) bridge.Offset {
	if l == nil || l.Created != created || len(l.Branches) == 0 {
		return bridge.Offset{Epoch: created}
	}
	return l.Branches[len(l.Branches)-1]
}

// continues reports whether an offset of any epoch is one of the stream as it is now.
func (l *lineage) continues(created uint64, o bridge.Offset) bool {
	epochs := l.epochs(created)
	for i, b := range epochs {
		if o.Epoch == b.Epoch {
			return i+1 == len(epochs) || o.Seq <= epochs[i+1].Seq
		}
	}
	return false
}

// epochs is where each epoch began whose offsets are good up to where the next one did, oldest
// first.
func (l *lineage) epochs(created uint64) []bridge.Offset {
	first := []bridge.Offset{{Epoch: created}}
	switch {
	case l == nil || l.Created != created || len(l.Branches) == 0:
		return first
	case l.Branches[0].Seq == 0: // nothing of the stream before was recognised
		return l.Branches
	}
	return append(first, l.Branches...)
}

// maxBranches bounds what is kept of a lineage. Cursors of older epochs are told a gap.
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

// adopt returns the lineage of a stream that has the messages of another one up to a sequence,
// whose epoch was that.
func (l *lineage) adopt(created, epoch, seq uint64, now time.Time) *lineage {
	before := []bridge.Offset{{Epoch: epoch}}
	if l != nil && l.epoch(l.Created) == epoch {
		before = l.epochs(l.Created)
	}
	return extend(created, before, seq, max(uint64(now.UnixMilli()), created+1, epoch+1))
}

// extend returns a lineage whose epoch begins behind a sequence, with those before it that began
// there or earlier.
func extend(created uint64, before []bridge.Offset, seq, epoch uint64) *lineage {
	var kept []bridge.Offset
	for _, b := range before {
		if b.Seq <= seq {
			kept = append(kept, b)
		}
	}
	if n := len(kept) - maxBranches + 1; n > 0 {
		if kept[0].Seq == 0 {
			kept[n].Seq = 0 // the stream's creation is the first epoch no more than before
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

// isBack looks whether the stream is another than the one that had a message.
func (s *session) isBack(ctx context.Context, now streamState, mark bridge.StoredMessage) (bool, error) {
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
// With a subject it is the same of the first message from there on.
func (s *session) storedAt(ctx context.Context, now streamState, seq uint64, subject ...jetstream.GetMsgOpt) (int64, error) {
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

// recognise returns errWentBack when the stream is not the one that this reader, or the leader
// before, has read. A leader then begins a new epoch, with its next term.
func (s *session) recognise(ctx context.Context, now streamState) error {
	if s.term > 0 && s.intake.client.embedded.isTorn() {
		s.intake.election.branch(now.created, now.last)
		s.intake.log.Error("the machine ended without a stop, the stream's newest messages may be lost, a new epoch begins", "stream_seq", now.last)
		return errWentBack
	}
	for _, mark := range []bridge.StoredMessage{s.intake.index.Newest(), s.mark} {
		back, err := s.isBack(ctx, now, mark)
		var copied uint64
		if err == nil && !back {
			copied, err = s.copied(ctx, now, mark)
		}
		if err != nil {
			return err
		}
		if !back && copied == 0 {
			continue
		}
		if s.term > 0 {
			seq, err := s.branchedAt(ctx, now)
			if err != nil {
				return err
			}
			if back {
				s.intake.election.branch(now.created, seq)
			} else {
				if seq == 0 {
					seq = copied
				}
				s.intake.election.adopt(now.created, mark.Offset.Epoch, seq)
			}
			s.intake.log.Error("the stream went back to an earlier state, a new epoch begins", "stream_seq", seq, "last", now.last, "read", mark.Offset.String())
		}
		return errWentBack
	}
	return nil
}

// copied looks whether a stream that was created after the one that had a message has others of
// that one, as one has that was restored under a new name or time. They were stored before the
// message, which those of a stream that was made anew were not. It returns the last such sequence,
// zero when there is none.
func (s *session) copied(ctx context.Context, now streamState, mark bridge.StoredMessage) (uint64, error) {
	known := func(epoch bridge.Offset) bool { return epoch.Epoch == mark.Offset.Epoch }
	if mark.Stored.IsZero() || now.last == 0 || slices.ContainsFunc(now.lineage.epochs(now.created), known) {
		return 0, nil
	}
	var failed error
	span := int(now.last - now.first + 1)
	n := sort.Search(span, func(i int) bool {
		stored, err := s.storedAt(ctx, now, now.first+uint64(i), jetstream.WithGetMsgSubject(s.prefix+">"))
		if err != nil {
			failed = err
		}
		return failed != nil || stored == 0 || stored > mark.Stored.UnixMilli()
	})
	if failed != nil || n == 0 {
		return 0, failed
	}
	return now.first + uint64(n) - 1, nil
}

// branchedAt is the last sequence at which the stream is as this reader remembers it, zero when it
// remembers none.
func (s *session) branchedAt(ctx context.Context, now streamState) (uint64, error) {
	known := s.intake.index.Stored()
	if at := s.intake.index.StoredAt(s.mark.Offset); !s.mark.Stored.IsZero() && !at.IsZero() && at.UnixMilli() != s.mark.Stored.UnixMilli() {
		known = nil // it was read after the stream went back
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
	case s.mark.Offset.Seq > now.last && len(known) == 0:
		return now.last, nil // it has not been overtaken, so what is there is what was
	}
	return 0, nil
}
