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

// Claim makes term the one that may write the checkpoint. In it this node is the leader,
// and caches where the histories end.
func (r *Redis) Claim(ctx context.Context, term uint64) error {
	return r.do(ctx, "claim", func(ctx context.Context) error {
		if err := r.own(ctx, claimScript.call(ctx, []string{r.keys.term}, strconv.FormatUint(term, 10))); err != nil {
			return err
		}
		r.tails.term.Store(term)
		return nil
	})
}

// Checkpoint returns the greatest term claimed and how far the stream was read. What another
// program has written there is removed: it would keep every leader from reading and from saving
// its own.
func (r *Redis) Checkpoint(ctx context.Context) (term uint64, o bridge.Offset, err error) {
	err = r.do(ctx, "checkpoint", func(ctx context.Context) error {
		err := r.leaderValue(ctx, r.keys.term, func(text string) (err error) {
			term, err = strconv.ParseUint(text, 10, 64)
			return err
		})
		if err != nil {
			return err
		}
		return r.leaderValue(ctx, r.keys.checkpoint, func(text string) (err error) {
			o, err = bridge.ParseOffset(text)
			return err
		})
	})
	return term, o, err
}

// leaderValue reads one value of the leader's, if it is there, and removes one that is not.
func (r *Redis) leaderValue(ctx context.Context, key string, parse func(string) error) error {
	text, err := r.get(ctx, key)
	if errors.Is(err, redis.Nil) {
		return nil
	}
	if err != nil {
		err = classify(err)
	} else if err = parse(text); err != nil {
		err = fmt.Errorf("%w: %w", bridge.ErrRefused, err)
	}
	if errors.Is(err, bridge.ErrRefused) {
		r.log.Warn("leader's value is not ours, removing it", "key", key, "err", err)
		return r.send(ctx, func(p redis.Pipeliner) { p.Del(ctx, key) })
	}
	return err
}

// SaveCheckpoint records how far the stream was read, if the term is the last one claimed.
func (r *Redis) SaveCheckpoint(ctx context.Context, term uint64, o bridge.Offset) error {
	return r.do(ctx, "save_checkpoint", func(ctx context.Context) error {
		return r.own(ctx, checkpointScript.call(ctx, []string{r.keys.term, r.keys.checkpoint},
			strconv.FormatUint(term, 10), o.String()))
	})
}

// own runs a script that answers "1" when the term is the caller's.
func (r *Redis) own(ctx context.Context, c *redis.StringSliceCmd) error {
	if err := r.run(ctx, c); err != nil {
		return err
	}
	if len(c.Val()) != 1 || c.Val()[0] != "1" {
		return bridge.ErrNotLeader
	}
	return nil
}
