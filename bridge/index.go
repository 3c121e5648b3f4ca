package bridge

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// IndexConfig bounds what an [Index] keeps.
type IndexConfig struct {
	TTL        time.Duration // how long a message is in its log, from when the stream stored it
	MaxPerUser int           // messages in one log
	// MaxMemory bounds the bytes of all logs. The oldest payloads go first: they are read from
	// the stream again. When entries alone take more, the oldest messages leave their logs.
	MaxMemory int
	// Metrics exposes the sizes of the index. Nil: no metrics are exposed.
	Metrics prometheus.Registerer
}

// Sizes of what an index keeps, in bytes, as measured with a heap profile.
const (
	indexEntryBytes   = 80  // an entry and its place in the order, with the slack of their slices
	indexPayloadBytes = 48  // a payload beside its own bytes
	indexLogBytes     = 200 // a log beside its entries
)

// Index has the messages of each user's log. A reader of the stream keeps one in memory. It has
// sequences, and the newest payloads while there is room; the stream is the only complete copy.
// Safe for concurrent use.
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
	x := &Index{cfg: cfg, logs: make(map[UserID]*indexLog), withdrawn: make(map[uint64]bool), undecided: make(map[Offset]*indexLog)}
	x.measure(cfg.Metrics)
	return x
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
