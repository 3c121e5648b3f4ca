package store

import (
	"context"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/codewar/socketbridge/bridge"
)

func (k keyspace) traces(block bridge.Offset) string {
	return k.prefix + ":traces:{" + block.String() + "}"
}

// SaveTraces writes the blocks in one round trip, and removes what is more than
// Limits.MaxTraces messages back.
func (r *Redis) SaveTraces(ctx context.Context, blocks []bridge.TraceBlock) error {
	if len(blocks) == 0 {
		return nil
	}
	return r.do(ctx, "save_traces", func(ctx context.Context) error {
		keep := uint64(bridge.TraceBlocks(r.limits.MaxTraces))
		return r.send(ctx, func(p redis.Pipeliner) {
			for _, b := range blocks {
				key := r.keys.traces(b.Block)
				p.RPush(ctx, key, b.Data)
				p.PExpire(ctx, key, r.limits.HistoryTTL)
				if b.Block.Seq >= keep {
					p.Unlink(ctx, r.keys.traces(bridge.Offset{Epoch: b.Block.Epoch, Seq: b.Block.Seq - keep}))
				}
			}
		})
	})
}

// Trace returns [bridge.ErrNoTrace] when nothing is known of the message.
func (r *Redis) Trace(ctx context.Context, at bridge.Offset) (found bridge.Trace, err error) {
	err = r.do(ctx, "trace", func(ctx context.Context) error {
		var c *redis.StringSliceCmd
		err := r.send(ctx, func(p redis.Pipeliner) { c = p.LRange(ctx, r.keys.traces(bridge.TraceBlockOf(at)), 0, -1) })
		if err != nil {
			return err
		}
		for _, data := range slices.Backward(c.Val()) {
			if found, err = bridge.FindTrace([]byte(data), at); err == nil {
				return nil
			}
		}
		return bridge.ErrNoTrace
	})
	return found, err
}
