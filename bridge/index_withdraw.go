package bridge

import "slices"

// Withdraw begins to take a message out of its log. Until [Index.Withdrawn] or
// [Index.NotWithdrawn] ends that, the log is not read: see [Replay.Undecided]. It reports false,
// and does nothing, when a socket may have read the message.
func (x *Index) Withdraw(o Offset) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if o != x.offset(o.Seq) {
		return true // it has gone with the end of its epoch
	}
	i, found := x.order.find(o.Seq)
	if !found {
		return o.Seq <= x.end // it has left its log by age
	}
	if l := x.order.at(i).log; l != nil && x.undecided[o] == nil {
		if o.Seq <= l.read {
			return false
		}
		x.undecided[o] = l
		l.undecided++
	}
	return true
}

// NotWithdrawn says that a withdrawal could not be recorded: another reader may deliver the message,
// so it stays in its log.
func (x *Index) NotWithdrawn(o Offset) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.decide(o)
}

// Withdrawn takes messages whose withdrawal is recorded out of their logs. When one is not here
// yet it enters none.
func (x *Index) Withdrawn(offsets ...Offset) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, o := range offsets {
		x.decide(o)
		if o != x.offset(o.Seq) {
			continue // of a stream that is not this one any more
		}
		i, found := x.order.find(o.Seq)
		switch {
		case !found && o.Seq <= x.end:
			continue // it has left its log by age
		case found && x.order.at(i).log != nil:
			x.remove(x.order.at(i).log, o.Seq)
		}
		x.withdrawn[o.Seq] = true
	}
}

// decide ends a withdrawal that is not recorded yet, if it is one. With x.mu held.
func (x *Index) decide(o Offset) {
	if l := x.undecided[o]; l != nil {
		delete(x.undecided, o)
		l.undecided--
	}
}

// remove takes a withdrawn message out of a log. With x.mu held.
func (x *Index) remove(l *indexLog, seq uint64) {
	i, found := l.find(seq)
	if !found {
		return
	}
	x.bytes -= indexEntryBytes
	l.entries = slices.Delete(l.entries, i, i+1)
	if l.last == seq {
		l.last = x.before(l, len(l.entries))
	}
	if len(l.entries) == 0 {
		x.idle++
	}
}
