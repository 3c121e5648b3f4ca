package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// memoryTraces are the records of one block of the stream.
type memoryTraces struct {
	block   bridge.Offset
	records map[bridge.Offset][]byte
	ends    time.Time
}

// SaveTraces keeps records: see [Redis.SaveTraces].
func (n *MemoryNode) SaveTraces(ctx context.Context, records []bridge.TraceRecord) error {
	return n.do(ctx, "save_traces", func(m *Memory, now time.Time) error {
		for _, t := range records {
			b := m.traceBlock(block(t.Offset))
			b.records[t.Offset] = t.Data
			b.ends = now.Add(m.limits.HistoryTTL)
		}
		for len(m.traces) > m.limits.MaxTraces/traceBlock+1 || len(m.traces) > 0 && !now.Before(m.traces[0].ends) {
			m.traces = m.traces[1:]
		}
		return nil
	})
}

// traceBlock finds a block, which is nearly always the newest, or makes it.
func (m *Memory) traceBlock(block bridge.Offset) *memoryTraces {
	for _, b := range slices.Backward(m.traces) {
		if b.block == block {
			return b
		}
	}
	b := &memoryTraces{block: block, records: make(map[bridge.Offset][]byte)}
	m.traces = append(m.traces, b)
	return b
}

// Trace returns [bridge.ErrNoTrace] when nothing is known of the message.
func (n *MemoryNode) Trace(ctx context.Context, at bridge.Offset) (found bridge.Trace, err error) {
	err = n.do(ctx, "trace", func(m *Memory, now time.Time) error {
		for _, b := range m.traces {
			data, known := b.records[at]
			if !known || !now.Before(b.ends) {
				continue
			}
			if found, err = bridge.ParseTrace(data); err != nil {
				return fmt.Errorf("decode trace: %w", err)
			}
			return nil
		}
		return bridge.ErrNoTrace
	})
	return found, err
}
