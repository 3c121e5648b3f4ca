package bridge

import (
	"slices"
	"sync"
	"time"
)

// IndexConfig bounds what an [Index] keeps.
type IndexConfig struct {
	TTL        time.Duration // how long a message is in its log, from when the stream stored it
	MaxPerUser int           // messages in one log
	// MaxMemory bounds the bytes of all logs. The oldest payloads go first: they are read from
	// the stream again. When entries alone take more, the oldest messages leave their logs.
	MaxMemory int
}

// Sizes of what an index keeps, in bytes, as measured with a heap profile.
const (
	indexEntryBytes   = 80  // an entry and its place in the order, with the slack of their slices
	indexPayloadBytes = 48  // a payload beside its own bytes
	indexLogBytes     = 200 // a log beside its entries
)

// mostIdleLogs is how many logs without a message are remembered, for what has left them: some
// 40 MB. Of more, some are forgotten; their users' next cursor may be told a gap that is none.
const mostIdleLogs = 200_000

// Index says which messages of the stream are in which user's log. A reader of the stream keeps
// one in memory. It has sequences, and the newest payloads as long as there is room; the stream
// is the only complete copy. Safe for concurrent use.
type Index struct {
	cfg IndexConfig

	mu        sync.Mutex // guards all below
	logs      map[UserID]*indexLog
	idle      int                  // logs without an entry
	order     indexOrder           // every message that was appended, oldest first
	epochs    []branch             // of the stream, oldest first; the last one is the present
	end       uint64               // the sequence up to which the stream was indexed
	least     uint64               // nothing is known of messages up to it
	lost      uint64               // some up to it had left the stream before they were read
	withdrawn map[uint64]bool      // withdrawn, kept as long as the messages would be
	undecided map[Offset]*indexLog // messages whose withdrawal is not recorded yet, and their logs
	bytes     int
	newest    StoredMessage // that was appended
	began     time.Time     // when the epoch began, if it is not the first one that is known
	counts    IndexStats
}

// branch is an epoch of the stream: its sequences after seq belong to it, until the next one begins.
type branch struct{ epoch, seq uint64 }

// indexLog is the log of one user.
type indexLog struct {
	entries   []indexEntry // in order
	left      uint64       // the greatest sequence that has left the log because of a bound; zero: none
	last      uint64       // the newest message ever appended that was not withdrawn; zero: not known
	read      uint64       // up to here sockets may have read
	undecided int          // withdrawals of its messages that are not recorded yet
}

type indexEntry struct {
	seq  uint64
	kept *indexPayload // nil: it is read from the stream
}

type indexPayload struct {
	topic string
	data  []byte
}

// NewIndex makes an empty index. [Index.Begin] says where the stream is read from.
func NewIndex(cfg IndexConfig) *Index {
	return &Index{cfg: cfg, logs: make(map[UserID]*indexLog), withdrawn: make(map[uint64]bool), undecided: make(map[Offset]*indexLog)}
}

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

// Entry is one message to append.
type Entry struct {
	*Envelope
	// OnlyIfPresent marks a message whose sender is told when no socket of the user is
	// there: it is then withdrawn, and must never arrive later.
	OnlyIfPresent bool
}

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
func (x *Index) Append(entries []Entry) []Indexed {
	found := make([]Indexed, len(entries))
	payloads := make([]indexPayload, len(entries))
	now := time.Now()
	x.mu.Lock()
	defer x.mu.Unlock()
	for i, e := range entries {
		payloads[i] = indexPayload{e.Topic, e.Payload}
		found[i] = x.append(e.Envelope, &payloads[i])
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

// Withdraw begins to take a message out of its log. Until [Index.Withdrawn] or
// [Index.NotWithdrawn] ends that, the log is not read: see [Replay.Undecided]. It reports false,
// and does nothing, when a socket may have read the message.
func (x *Index) Withdraw(o Offset) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if o.Epoch != x.epoch() {
		return false
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

// evict drops what is beyond the bounds. With x.mu held.
func (x *Index) evict(now time.Time) {
	expired := now.Add(-x.cfg.TTL).UnixMilli()
	for x.order.len() > 0 && x.order.at(0).stored <= expired {
		x.dropOldest()
	}
	for x.bytes > x.cfg.MaxMemory && x.dropPayload() {
	}
	for x.bytes > x.cfg.MaxMemory && x.order.len() > 0 {
		x.dropOldest()
		x.counts.Evicted++
	}
	if x.idle > mostIdleLogs {
		x.forget()
	}
}

// dropOldest drops the oldest message of all. With x.mu held.
func (x *Index) dropOldest() {
	o := x.order.at(0)
	if l := o.log; l != nil && len(l.entries) > 0 && l.entries[0].seq == o.seq {
		x.dropFirst(l)
	}
	delete(x.withdrawn, o.seq)
	x.bytes -= o.payload
	x.order.drop()
}

// dropFirst drops the oldest message of a log. With x.mu held.
func (x *Index) dropFirst(l *indexLog) {
	x.bytes -= indexEntryBytes
	l.left = l.entries[0].seq
	l.entries[0] = indexEntry{}
	l.entries = l.entries[1:]
	if len(l.entries) == 0 {
		l.entries = nil
		x.idle++
	}
}

// dropPayload drops the oldest payload of all. With x.mu held.
func (x *Index) dropPayload() bool {
	o := x.order.unload()
	if o == nil {
		return false
	}
	x.bytes -= o.payload
	o.payload = 0
	if o.log == nil {
		return true
	}
	if i, found := o.log.find(o.seq); found {
		o.log.entries[i].kept = nil
		x.counts.Unloaded++
	}
	return true
}

// forget drops some of the logs without a message. With x.mu held.
func (x *Index) forget() {
	for user, l := range x.logs {
		if len(l.entries) > 0 {
			continue
		}
		x.least = max(x.least, l.left)
		delete(x.logs, user)
		x.bytes -= indexLogBytes
		if x.idle--; x.idle <= mostIdleLogs*9/10 {
			return
		}
	}
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

// IndexStats is what an index keeps and has dropped.
type IndexStats struct {
	Messages, Users int
	Bytes           int
	Evicted         uint64 // messages that left their log before their time, as there were too many bytes
	Unloaded        uint64 // payloads that left memory for the same reason
}

// Stats returns the figures at this moment.
func (x *Index) Stats() IndexStats {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.counts
	s.Messages, s.Users, s.Bytes = x.order.len(), len(x.logs)-x.idle, x.bytes
	return s
}

// find returns where a sequence is, or would be.
func (l *indexLog) find(seq uint64) (int, bool) {
	if n := len(l.entries); n > 0 && l.entries[n-1].seq < seq {
		return n, false // nearly always
	}
	return slices.BinarySearchFunc(l.entries, seq, func(e indexEntry, seq uint64) int {
		switch {
		case e.seq < seq:
			return -1
		case e.seq > seq:
			return 1
		}
		return 0
	})
}
