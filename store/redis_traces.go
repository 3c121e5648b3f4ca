package store

import (
	"context"
	"slices"
	"strings"

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
				p.PExpire(ctx, key, r.limits.TraceTTL)
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

// TracesOf reads a window of blocks in one round trip. A window that is empty ends
// the search: blocks follow one another without a gap.
func (r *Redis) TracesOf(ctx context.Context, user bridge.UserID, from bridge.Offset) (found []bridge.Trace, next bridge.Offset, err error) {
	err = r.do(ctx, "traces_of", func(ctx context.Context) error {
		newest := bridge.TraceBlockOf(from)
		var blocks []bridge.Offset
		for seq := newest.Seq; len(blocks) < bridge.TraceWindow; seq-- {
			blocks = append(blocks, bridge.Offset{Epoch: newest.Epoch, Seq: seq})
			if seq == 0 {
				break
			}
		}
		cmds := make([]*redis.StringSliceCmd, len(blocks))
		if err := r.send(ctx, func(p redis.Pipeliner) {
			for i, b := range blocks {
				cmds[i] = p.LRange(ctx, r.keys.traces(b), 0, -1)
			}
		}); err != nil {
			return err
		}
		empty := true
		for i, c := range cmds {
			empty = empty && len(c.Val()) == 0
			data := []byte(strings.Join(c.Val(), ""))
			found = append(found, bridge.TracesIn(bridge.TraceBlock{Block: blocks[i], Data: data}, user)...)
		}
		if last := blocks[len(blocks)-1]; last.Seq > 0 && !empty {
			next = bridge.TraceBlockEnd(bridge.Offset{Epoch: last.Epoch, Seq: last.Seq - 1})
		}
		return nil
	})
	return found, next, err
}
