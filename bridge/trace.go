package bridge

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// Trace is what happened to one message, for an operator who asks later why a user did
// or did not get it.
type Trace struct {
	Offset  Offset    `json:"offset"`
	Subject string    `json:"subject"`
	User    UserID    `json:"userId,omitempty"` // missing when it could not be read
	Read    time.Time `json:"read"`
	Settled time.Time `json:"settled"`
	Outcome Outcome   `json:"outcome"`
	Code    string    `json:"code,omitempty"` // why, when Outcome is Dead
	Tries   []Try     `json:"tries,omitempty"`
}

// Try is one node's part in it.
type Try struct {
	Node    NodeID     `json:"node"`
	Sockets []SocketID `json:"sockets"` // that were registered there when it was looked up
	Took    int        `json:"took"`    // of them, or of those that came in that moment: given it
	Seen    int        `json:"seen"`    // had it already
	Acked   int        `json:"acked"`
	Error   string     `json:"error,omitempty"` // the node did not answer
}

// ErrNoTrace means that nothing is known of a message: it was never read, or
// longer ago than the history goes back.
var ErrNoTrace = errors.New("no trace of this message")

// traces wait here to be saved, many at once.
type traces struct {
	mu      sync.Mutex        // guards what follows
	waiting map[Offset][]byte // by block
	n       int               // messages in it
	scratch Trace             // filled anew for each message
	spare   [][]byte          // memory of blocks that were saved
}

// maxTraces bounds what waits while the store is away: beyond it traces are
// dropped, never messages.
const maxTraces = 100_000

// trace leaves a trace, which fill tells, when traces are wanted. fill may use
// what it finds in the slices again.
func (r *Router) trace(fill func(*Trace)) {
	if !r.routes.Traced {
		return
	}
	ts := &r.traces
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.n == maxTraces {
		return
	}
	t := &ts.scratch
	*t = Trace{Tries: t.Tries[:0]}
	fill(t)
	if ts.waiting == nil {
		ts.waiting = make(map[Offset][]byte)
	}
	block := TraceBlockOf(t.Offset)
	data, begun := ts.waiting[block]
	if last := len(ts.spare) - 1; !begun && last >= 0 {
		data, ts.spare = ts.spare[last], ts.spare[:last]
	}
	ts.waiting[block] = t.append(data)
	ts.n++
}

func (ts *traces) take() (blocks []TraceBlock, messages int) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for block, data := range ts.waiting {
		blocks = append(blocks, TraceBlock{block, data})
	}
	messages = ts.n
	clear(ts.waiting)
	ts.n = 0
	return blocks, messages
}

// reuse takes back the memory of blocks that were saved.
func (ts *traces) reuse(blocks []TraceBlock) {
	const most = 32 // blocks of some 60 kB
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, b := range blocks[:min(len(blocks), most-len(ts.spare))] {
		ts.spare = append(ts.spare, b.Data[:0])
	}
}

// saveEvery is how often traces are saved.
const saveEvery = 100 * time.Millisecond

// keepTraces saves traces until the term ends.
func (r *Router) keepTraces(ctx context.Context) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.saveTraces()
		case <-ctx.Done():
			return
		}
	}
}

func (r *Router) saveTraces() {
	blocks, n := r.traces.take()
	if n == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	defer r.traces.reuse(blocks)
	if err := r.store.SaveTraces(ctx, blocks); err != nil {
		r.log.LogAttrs(ctx, slog.LevelDebug, "traces not saved", slog.Int("messages", n), slog.Any("err", err))
	}
}
