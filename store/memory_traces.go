package store

import (
	"context"
	"slices"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// memoryTraces are the traces of one block of the stream.
type memoryTraces struct {
	block bridge.Offset
	data  []byte
	ends  time.Time
}

// SaveTraces adds to the blocks: see [Redis.SaveTraces].
func (n *MemoryNode) SaveTraces(ctx context.Context, blocks []bridge.TraceBlock) error {
	return n.do(ctx, "save_traces", func(m *Memory, now time.Time) error {
		for _, b := range blocks {
			kept := m.traceBlock(b.Block)
			kept.data = append(kept.data, b.Data...)
			kept.ends = now.Add(m.limits.TraceTTL)
		}
		for len(m.traces) > bridge.TraceBlocks(m.limits.MaxTraces) || len(m.traces) > 0 && !now.Before(m.traces[0].ends) {
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
	b := &memoryTraces{block: block}
	m.traces = append(m.traces, b)
	return b
}

// Trace returns [bridge.ErrNoTrace] when nothing is known of the message.
func (n *MemoryNode) Trace(ctx context.Context, at bridge.Offset) (found bridge.Trace, err error) {
	err = n.do(ctx, "trace", func(m *Memory, now time.Time) error {
		for _, b := range m.traces {
			if b.block == bridge.TraceBlockOf(at) && now.Before(b.ends) {
				found, err = bridge.FindTrace(b.data, at)
				return err
			}
		}
		return bridge.ErrNoTrace
	})
	return found, err
}

// TracesOf looks backwards for a user's traces, among the blocks not newer than that
// of from. Blocks are only ever added to, so they are searched without the lock.
func (n *MemoryNode) TracesOf(ctx context.Context, user bridge.UserID, from bridge.Offset) (found []bridge.Trace, next bridge.Offset, err error) {
	var window []bridge.TraceBlock
	err = n.do(ctx, "traces_of", func(m *Memory, now time.Time) error {
		for _, b := range slices.Backward(m.traces) {
			if !now.Before(b.ends) || b.block.After(bridge.TraceBlockOf(from)) {
				continue
			}
			if len(window) == bridge.TraceWindow {
				next = bridge.TraceBlockEnd(b.block)
				break
			}
			window = append(window, bridge.TraceBlock{Block: b.block, Data: b.data})
		}
		return nil
	})
	for _, b := range window {
		found = append(found, bridge.TracesIn(b, user)...)
	}
	return found, next, err
}
