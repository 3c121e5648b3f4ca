package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"time"
)

// Trace is what happened to one message, for whoever asks later why a user did
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

// TraceRecord is a trace as the store keeps it.
type TraceRecord struct {
	Offset Offset
	Data   []byte // what [ParseTrace] reads
}

// ErrNoTrace means that nothing is known of a message: it was never read, or
// longer ago than the history goes back.
var ErrNoTrace = errors.New("no trace of this message")

// ParseTrace reads a record's data.
func ParseTrace(data []byte) (t Trace, err error) {
	err = json.Unmarshal(data, &t)
	return t, err
}

// traces wait here to be saved, many at once.
type traces struct {
	mu      sync.Mutex // guards what follows
	waiting []TraceRecord
}

// maxTraces bounds what waits while the store is away: beyond it traces are
// dropped, never messages.
const maxTraces = 100_000

// trace leaves a trace, made only when traces are wanted.
func (r *Router) trace(make func() *Trace) {
	if r.routes.Traced {
		r.traces.add(make())
	}
}

func (ts *traces) add(t *Trace) {
	data := t.append(make([]byte, 0, 320))
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if len(ts.waiting) < maxTraces {
		ts.waiting = append(ts.waiting, TraceRecord{t.Offset, data})
	}
}

func (ts *traces) take() []TraceRecord {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	records := ts.waiting
	ts.waiting = nil
	return records
}

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
	records := r.traces.take()
	if len(records) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := r.store.SaveTraces(ctx, records); err != nil {
		r.log.LogAttrs(ctx, slog.LevelDebug, "traces not saved", slog.Int("messages", len(records)), slog.Any("err", err))
	}
}

// append writes the trace as JSON. It is done for every message, so it does not
// reflect; a test holds it against encoding/json.
func (t *Trace) append(b []byte) []byte {
	b = append(b, `{"offset":"`...)
	b = t.Offset.Append(b)
	b = appendString(append(b, `","subject":`...), t.Subject)
	if t.User != "" {
		b = appendString(append(b, `,"userId":`...), string(t.User))
	}
	b = t.Read.AppendFormat(append(b, `,"read":"`...), time.RFC3339Nano)
	b = t.Settled.AppendFormat(append(b, `","settled":"`...), time.RFC3339Nano)
	b = append(append(b, `","outcome":"`...), t.Outcome...)
	b = append(b, '"')
	if t.Code != "" {
		b = appendString(append(b, `,"code":`...), t.Code)
	}
	for i, try := range t.Tries {
		if i == 0 {
			b = append(b, `,"tries":[`...)
		} else {
			b = append(b, ',')
		}
		b = try.append(b)
		if i == len(t.Tries)-1 {
			b = append(b, ']')
		}
	}
	return append(b, '}')
}

func (t *Try) append(b []byte) []byte {
	b = appendString(append(b, `{"node":`...), string(t.Node))
	b = append(b, `,"sockets":[`...)
	for i, s := range t.Sockets {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, string(s))
	}
	b = strconv.AppendInt(append(b, `],"took":`...), int64(t.Took), 10)
	b = strconv.AppendInt(append(b, `,"seen":`...), int64(t.Seen), 10)
	b = strconv.AppendInt(append(b, `,"acked":`...), int64(t.Acked), 10)
	if t.Error != "" {
		b = appendString(append(b, `,"error":`...), t.Error)
	}
	return append(b, '}')
}

// appendString writes s as a JSON string. Most are plain.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // a string has no way to fail
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
