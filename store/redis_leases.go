package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/codewar/socketbridge/bridge"
)

// Beat renews this node's lease. The first one of a process joins, and says so.
func (r *Redis) Beat(ctx context.Context) (rejoined bool, err error) {
	err = r.do(ctx, "beat", func(ctx context.Context) error {
		if err := r.lockRoster(ctx); err != nil {
			return err
		}
		defer r.unlockRoster()
		mine := ""
		if self := r.self.Load(); self != nil {
			mine = *self
		}
		asked := time.Now()
		c := beatScript.call(ctx, []string{r.keys.nodes, r.keys.joins},
			string(r.node), mine, r.limits.NodeLease.Milliseconds())
		if err := r.run(ctx, c); err != nil {
			return err
		}
		if len(c.Val()) == 0 {
			return errAnswer
		}
		now := c.Val()[0]
		m, err := parseRoster(c.Val()[1:], asked)
		if err != nil {
			return err
		}
		r.roster.Store(m)
		r.self.Store(&now)
		rejoined = now != mine
		return nil
	})
	return rejoined, err
}

// Leave ends this node's lease; a later Beat joins again.
func (r *Redis) Leave(ctx context.Context) error {
	return r.do(ctx, "leave", func(ctx context.Context) error {
		if err := r.lockRoster(ctx); err != nil {
			return err
		}
		defer r.unlockRoster()
		self := r.self.Load()
		if self == nil {
			return nil
		}
		if err := r.send(ctx, func(p redis.Pipeliner) { p.ZRem(ctx, r.keys.nodes, *self) }); err != nil {
			return err
		}
		r.self.Store(nil)
		r.roster.Store(nil)
		return nil
	})
}

// Nodes lists the nodes whose lease lives, by name.
func (r *Redis) Nodes(ctx context.Context) (nodes []bridge.NodeID, err error) {
	err = r.do(ctx, "nodes", func(ctx context.Context) error {
		m, err := r.membersAfter(ctx, r.roster.Load())
		if err != nil {
			return err
		}
		for incarnation := range m.until {
			if node, _, ok := cutIncarnation(incarnation); ok {
				nodes = append(nodes, node)
			}
		}
		slices.Sort(nodes)
		return nil
	})
	return nodes, err
}

// Lead takes or renews the intake lease.
func (r *Redis) Lead(ctx context.Context) (term uint64, err error) {
	err = r.do(ctx, "lead", func(ctx context.Context) error {
		c := leadScript.call(ctx, []string{r.keys.leader, r.keys.term}, r.holder, r.limits.LeaderLease.Milliseconds())
		if err := r.run(ctx, c); err != nil {
			return err
		}
		if len(c.Val()) == 0 {
			return bridge.ErrNotLeader
		}
		term, err = strconv.ParseUint(c.Val()[0], 10, 64)
		if err != nil {
			return fmt.Errorf("term: %w", err)
		}
		r.tails.term.Store(term)
		return nil
	})
	return term, err
}

// Resign gives the intake lease up if this process holds it.
func (r *Redis) Resign(ctx context.Context) error {
	return r.do(ctx, "resign", func(ctx context.Context) error {
		return r.run(ctx, resignScript.call(ctx, []string{r.keys.leader}, r.holder))
	})
}

// Checkpoint returns how far the stream was read, zero when that is unknown. What another program
// has written there is removed: it would keep every leader from reading and from saving its own.
func (r *Redis) Checkpoint(ctx context.Context) (o bridge.Offset, err error) {
	err = r.do(ctx, "checkpoint", func(ctx context.Context) error {
		text, err := r.get(ctx, r.keys.checkpoint)
		if errors.Is(err, redis.Nil) {
			return nil
		}
		if err != nil {
			err = classify(err)
		} else if o, err = bridge.ParseOffset(text); err != nil {
			err = fmt.Errorf("%w: %w", bridge.ErrRefused, err)
		}
		if errors.Is(err, bridge.ErrRefused) {
			r.log.Warn("checkpoint is not ours, removing it", "err", err)
			return r.send(ctx, func(p redis.Pipeliner) { p.Del(ctx, r.keys.checkpoint) })
		}
		return err
	})
	return o, err
}

// SaveCheckpoint records how far the stream was read, if this process leads in that term.
func (r *Redis) SaveCheckpoint(ctx context.Context, term uint64, o bridge.Offset) error {
	return r.do(ctx, "save_checkpoint", func(ctx context.Context) error {
		c := checkpointScript.call(ctx, []string{r.keys.leader, r.keys.checkpoint},
			strconv.FormatUint(term, 10)+"|"+r.holder, o.String())
		if err := r.run(ctx, c); err != nil {
			return err
		}
		if len(c.Val()) != 1 || c.Val()[0] != "1" {
			return bridge.ErrNotLeader
		}
		return nil
	})
}
