package bridge

import "time"

// Indexed is what [Index.Append] says of one message.
type Indexed struct {
	// Before is the user's message before this one; zero when none is known. It may name one
	// that was withdrawn.
	Before Offset
	// Withdrawn means that the sender was told that the message does not arrive. It is in no log.
	Withdrawn bool
}

// Append adds messages to their users' logs, in the order of the stream, and returns, in the
// same order, what it found. A message that is there already is found and not appended again.
// Topics and payloads are kept: the caller must not change them.
func (x *Index) Append(envelopes []*Envelope) []Indexed {
	found := make([]Indexed, len(envelopes))
	payloads := make([]indexPayload, len(envelopes))
	now := time.Now()
	x.mu.Lock()
	defer x.mu.Unlock()
	for i, e := range envelopes {
		payloads[i] = indexPayload{e.Topic, e.Payload}
		found[i] = x.append(e, &payloads[i])
	}
	x.evict(now)
	return found
}

// append is called with x.mu held.
func (x *Index) append(e *Envelope, p *indexPayload) (found Indexed) {
	seq := e.Offset.Seq
	if x.withdrawn[seq] {
		if seq > x.end {
			x.end = seq
			x.order.add(indexed{seq: seq, stored: e.Stored.UnixMilli()})
		}
		return Indexed{Withdrawn: true}
	}
	l := x.logs[e.User]
	if seq <= x.end {
		if l == nil {
			return Indexed{}
		}
		i, _ := l.find(seq)
		return Indexed{Before: x.offset(x.before(l, i))}
	}
	if l == nil {
		l = &indexLog{left: x.least}
		x.logs[e.User] = l
		x.bytes += indexLogBytes
	} else if len(l.entries) == 0 {
		x.idle--
	}
	found.Before = x.offset(l.last)
	l.entries = append(l.entries, indexEntry{seq, p})
	l.last, x.end = seq, seq
	payload := indexPayloadBytes + len(p.topic) + len(p.data)
	x.bytes += indexEntryBytes + payload
	x.order.add(indexed{log: l, seq: seq, stored: e.Stored.UnixMilli(), payload: payload})
	x.newest = StoredMessage{e.Offset, e.Stored}
	if len(l.entries) > x.cfg.MaxPerUser {
		x.dropFirst(l)
	}
	return found
}

// before is the message before the i-th of a log; zero when it is not known. With x.mu held.
func (x *Index) before(l *indexLog, i int) uint64 {
	switch {
	case i > 0:
		return l.entries[i-1].seq
	case l.left > x.least:
		return l.left
	}
	return 0
}

// Advance says that everything up to o was appended or is in no log.
func (x *Index) Advance(o Offset) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if o.Epoch == x.epoch() {
		x.end = max(x.end, o.Seq)
	}
}

// Horizon is up to where the stream was indexed.
func (x *Index) Horizon() Offset {
	x.mu.Lock()
	defer x.mu.Unlock()
	return Offset{x.epoch(), x.end}
}

// Lose says that messages up to o had left the stream before they were read. Each cursor before it
// is told a gap, because they may have been for its user.
func (x *Index) Lose(o Offset) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if o.Epoch == x.epoch() {
		x.lost = max(x.lost, o.Seq)
	}
}
