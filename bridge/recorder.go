package bridge

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// saveEvery is how often records are saved.
	saveEvery = 100 * time.Millisecond
	// saveLimit bounds one call of SaveRecords.
	saveLimit = 2 * time.Second
	// maxUnsaved is how many records may wait while they cannot be saved. More are
	// discarded: records never hold messages up.
	maxUnsaved = 100_000
	// maxBlockBytes bounds the data of one saved block, so that a bus with a limit of 1 MiB
	// takes it. A record alone may be larger.
	maxBlockBytes = 128 << 10
)

// recorder collects the records of a router's messages and saves many at once.
// Safe for concurrent use.
type recorder struct {
	saver RecordSaver // nil: nothing is recorded
	log   *slog.Logger

	mu      sync.Mutex        // guards all below
	filling map[Offset][]byte // by block
	full    []RecordBlock
	n       int            // records in filling and full
	scratch DeliveryRecord // filled anew for each message
}

// add records a message. fill sets the fields; it may reuse the slices that it finds.
func (r *recorder) add(fill func(*DeliveryRecord)) {
	if r.saver == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n == maxUnsaved {
		return
	}
	d := &r.scratch
	*d = DeliveryRecord{Nodes: d.Nodes[:0]}
	fill(d)
	if r.filling == nil {
		r.filling = make(map[Offset][]byte)
	}
	block := RecordBlockOf(d.Offset)
	data := d.append(r.filling[block])
	if len(data) >= maxBlockBytes {
		r.full = append(r.full, RecordBlock{block, data})
		data = nil
	}
	r.filling[block] = data
	r.n++
}

// take returns what waits, and how many records that is.
func (r *recorder) take() (blocks []RecordBlock, records int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	blocks, records = r.full, r.n
	for block, data := range r.filling {
		if len(data) > 0 {
			blocks = append(blocks, RecordBlock{block, data})
		}
	}
	clear(r.filling)
	r.full, r.n = nil, 0
	return blocks, records
}

// run saves records until ctx ends.
func (r *recorder) run(ctx context.Context) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.save()
		case <-ctx.Done():
			return
		}
	}
}

// save saves what waits. Records that cannot be saved are discarded.
func (r *recorder) save() {
	blocks, n := r.take()
	if n == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), saveLimit)
	defer cancel()
	if err := r.saver.SaveRecords(ctx, blocks); err != nil {
		r.log.LogAttrs(ctx, slog.LevelDebug, "delivery records not saved", slog.Int("messages", n), slog.Any("err", err))
	}
}
