package bridge

import (
	"slices"
	"time"
)

// branch is an epoch of the stream: its sequences after seq belong to it, until the next one begins.
type branch struct{ epoch, seq uint64 }

// Begin says that messages after o, of o's epoch, are appended next. An index that has been
// there already keeps what it has. Otherwise it begins anew, which Begin reports: it knows nothing of
// messages up to o, and of no withdrawal.
// before is where each epoch began, oldest first, whose cursors are good up to where the next one
// began; none: o's epoch is the only one.
func (x *Index) Begin(o Offset, before ...Offset) (anew bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.epochs) > 0 && x.epoch() == o.Epoch && o.Seq <= x.end {
		return false
	}
	clear(x.logs)
	clear(x.undecided)
	clear(x.withdrawn)
	x.newest = StoredMessage{}
	x.order, x.idle, x.bytes = indexOrder{}, 0, 0
	x.epochs = nil
	for _, b := range before {
		x.epochs = append(x.epochs, branch{b.Epoch, b.Seq})
	}
	if len(before) == 0 || x.epoch() != o.Epoch {
		x.epochs = append(x.epochs, branch{epoch: o.Epoch})
	}
	if len(x.epochs) > 1 {
		x.began = time.Now() // at the latest
	}
	x.end, x.least, x.lost = o.Seq, o.Seq, 0
	return true
}

// Branch says that the stream was put back to o.Seq and goes on from there under o's epoch.
// Cursors of earlier epochs stay valid up to where the stream left them.
func (x *Index) Branch(o Offset) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.epochs) > 0 && x.epoch() >= o.Epoch {
		return
	}
	for _, l := range x.logs {
		i, _ := l.find(o.Seq + 1)
		x.bytes -= indexEntryBytes * (len(l.entries) - i)
		if i == 0 && len(l.entries) > 0 {
			x.idle++
		}
		l.entries = slices.Delete(l.entries, i, len(l.entries))
		l.left, l.read = min(l.left, o.Seq), min(l.read, o.Seq)
		if l.last > o.Seq {
			l.last = x.before(l, i)
		}
	}
	x.bytes -= x.order.cut(o.Seq)
	for seq := range x.withdrawn {
		if seq > o.Seq {
			delete(x.withdrawn, seq)
		}
	}
	for withdrawn := range x.undecided {
		if withdrawn.Seq > o.Seq {
			x.decide(withdrawn)
		}
	}
	x.epochs = slices.DeleteFunc(x.epochs, func(b branch) bool { return b.seq > o.Seq })
	x.epochs = append(x.epochs, branch{o.Epoch, o.Seq})
	x.began = time.Now()
	x.end, x.least, x.lost = min(x.end, o.Seq), min(x.least, o.Seq), min(x.lost, o.Seq)
}

// epoch is the present one. With x.mu held.
func (x *Index) epoch() uint64 {
	if len(x.epochs) == 0 {
		return 0
	}
	return x.epochs[len(x.epochs)-1].epoch
}

// offset is the offset of a sequence; zero for zero. With x.mu held.
func (x *Index) offset(seq uint64) Offset {
	if seq == 0 {
		return Offset{}
	}
	for i := len(x.epochs) - 1; i > 0; i-- {
		if seq > x.epochs[i].seq {
			return Offset{x.epochs[i].epoch, seq}
		}
	}
	return Offset{x.epochs[0].epoch, seq}
}

// place is the sequence behind which the holder of an offset goes on. lost reports that it may have
// missed messages that are not there any more: the stream has left the offset's epoch before it,
// or the epoch is not known; then the holder goes on with what comes next, and an inbox with
// everything. With x.mu held.
func (x *Index) place(o Offset, inbox bool) (seq uint64, lost bool) {
	for i, b := range x.epochs {
		if b.epoch != o.Epoch {
			continue
		}
		if i+1 < len(x.epochs) && o.Seq > x.epochs[i+1].seq {
			return x.epochs[i+1].seq, true
		}
		return o.Seq, false
	}
	if o.IsZero() || inbox && o.Epoch < x.epoch() {
		return 0, false
	}
	return x.end, o.Epoch < x.epoch() // of a later one: this reader is behind, or it is of no stream
}
