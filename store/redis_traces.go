package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/codewar/socketbridge/bridge"
)

// traceBlock is how many consecutive messages share a key: enough that a batch
// costs a command or two, few enough that old ones leave in small steps.
const traceBlock = 512

// block is the part of the stream that an offset is in.
func block(o bridge.Offset) bridge.Offset {
	return bridge.Offset{Epoch: o.Epoch, Seq: o.Seq / traceBlock}
}

func (k keyspace) traces(block bridge.Offset) string {
	return k.prefix + ":traces:{" + block.String() + "}"
}

// SaveTraces writes the records in one round trip, and removes what is more than
// Limits.MaxTraces messages back.
func (r *Redis) SaveTraces(ctx context.Context, records []bridge.TraceRecord) error {
	if len(records) == 0 {
		return nil
	}
	return r.do(ctx, "save_traces", func(ctx context.Context) error {
		blocks := make(map[bridge.Offset][]any)
		for _, t := range records {
			b := block(t.Offset)
			blocks[b] = append(blocks[b], strconv.FormatUint(t.Offset.Seq, 10), t.Data)
		}
		keep := uint64(r.limits.MaxTraces/traceBlock) + 1
		return r.send(ctx, func(p redis.Pipeliner) {
			for b, fields := range blocks {
				key := r.keys.traces(b)
				p.HSet(ctx, key, fields...)
				p.PExpire(ctx, key, r.limits.HistoryTTL)
				if b.Seq >= keep {
					p.Unlink(ctx, r.keys.traces(bridge.Offset{Epoch: b.Epoch, Seq: b.Seq - keep}))
				}
			}
		})
	})
}

// Trace returns [bridge.ErrNoTrace] when nothing is known of the message.
func (r *Redis) Trace(ctx context.Context, at bridge.Offset) (found bridge.Trace, err error) {
	err = r.do(ctx, "trace", func(ctx context.Context) error {
		var c *redis.StringCmd
		err := r.send(ctx, func(p redis.Pipeliner) {
			c = p.HGet(ctx, r.keys.traces(block(at)), strconv.FormatUint(at.Seq, 10))
		})
		if errors.Is(err, redis.Nil) {
			return bridge.ErrNoTrace
		}
		if err != nil {
			return err
		}
		if found, err = bridge.ParseTrace([]byte(c.Val())); err != nil {
			return fmt.Errorf("decode trace: %w", err)
		}
		return nil
	})
	return found, err
}
