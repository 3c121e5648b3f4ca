package bridge

import "time"

// Read answers a query. Entries whose payload is not in memory have an empty topic.
func (x *Index) Read(q HistoryQuery) Replay {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.evict(time.Now())
	r := Replay{From: q.After, Horizon: Offset{x.epoch(), x.end}}
	after, lost := x.place(q.After, q.Inbox)
	// What waited for a user may have gone with the end of the epoch before.
	r.Gap = q.Inbox && q.After.Epoch < x.epoch() && !x.began.IsZero() && time.Since(x.began) < x.cfg.TTL
	l := x.logs[q.User]
	if l == nil {
		r.Gap = r.Gap || !q.Inbox && (lost || after < max(x.least, x.lost))
		r.Before = x.offset(x.least)
		return r
	}
	if l.undecided > 0 && !q.Peek {
		r.Undecided = true
		return r
	}
	i, found := l.find(after)
	if found {
		i++
	}
	rest := l.entries[i:]
	r.Before = x.offset(l.left)
	if i > 0 {
		r.Before = x.offset(l.entries[i-1].seq)
	}
	r.Last = x.offset(l.last)
	r.Gap = r.Gap || !q.Inbox && (lost || after < max(l.left, x.lost))
	n := min(len(rest), max(q.Limit, 0))
	r.More = len(rest) > n
	r.Entries = x.envelopes(q.User, rest[:n])
	if n > 0 && !q.Peek {
		l.read = max(l.read, rest[n-1].seq)
	}
	return r
}

// envelopes is called with x.mu held.
func (x *Index) envelopes(user UserID, entries []indexEntry) []*Envelope {
	if len(entries) == 0 {
		return nil
	}
	all := make([]Envelope, len(entries))
	out := make([]*Envelope, len(entries))
	for i, e := range entries {
		all[i] = Envelope{User: user, Offset: x.offset(e.seq)}
		if e.kept != nil {
			all[i].Topic, all[i].Payload = e.kept.topic, e.kept.data
		}
		out[i] = &all[i]
	}
	return out
}

// StoredMessage is a message of the stream and when the stream stored it, to the millisecond.
type StoredMessage struct {
	Offset Offset    `json:"offset,omitzero"`
	Stored time.Time `json:"stored,omitzero"` // zero: not known
}

// Newest is the newest message that was ever appended; zero when none was.
func (x *Index) Newest() StoredMessage {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.newest
}

// Stored lists the messages that are kept, oldest first.
func (x *Index) Stored() []StoredMessage {
	x.mu.Lock()
	defer x.mu.Unlock()
	all := make([]StoredMessage, x.order.len())
	for i := range all {
		all[i] = x.stored(i)
	}
	return all
}

// StoredAt is when a message was stored; zero when that is not known any more.
func (x *Index) StoredAt(o Offset) time.Time {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.newest.Offset == o {
		return x.newest.Stored
	}
	if i, found := x.order.find(o.Seq); found && x.offset(o.Seq) == o {
		return x.stored(i).Stored
	}
	return time.Time{}
}

// stored is called with x.mu held.
func (x *Index) stored(i int) StoredMessage {
	o := x.order.at(i)
	return StoredMessage{x.offset(o.seq), time.UnixMilli(o.stored)}
}
