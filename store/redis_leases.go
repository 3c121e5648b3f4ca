package store

import (
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/codewar/socketbridge/bridge"
)

// Beat renews this node's lease. The first one of a process joins, and says so.
func (r *Redis) Beat(ctx context.Context) (rejoined bool, err error) {
	err = r.do(ctx, "beat", func(ctx context.Context) error {
		if err := r.lockMembership(ctx); err != nil {
			return err
		}
		defer r.unlockMembership()
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
		m, err := parseMembership(c.Val()[1:], asked)
		if err != nil {
			return err
		}
		r.membership.Store(m)
		r.self.Store(&now)
		rejoined = now != mine
		return nil
	})
	return rejoined, err
}

// Leave ends this node's lease; a later Beat joins again.
func (r *Redis) Leave(ctx context.Context) error {
	return r.do(ctx, "leave", func(ctx context.Context) error {
		if err := r.lockMembership(ctx); err != nil {
			return err
		}
		defer r.unlockMembership()
		self := r.self.Load()
		if self == nil {
			return nil
		}
		if err := r.send(ctx, func(p redis.Pipeliner) { p.ZRem(ctx, r.keys.nodes, *self) }); err != nil {
			return err
		}
		r.self.Store(nil)
		r.membership.Store(nil)
		return nil
	})
}

// servingFor is how long a node that says so is taken for one that serves.
const servingFor = 3 * time.Second

// Serving says whether this node serves, and lists the nodes that do, by name.
func (r *Redis) Serving(ctx context.Context, serves bool) (nodes []bridge.NodeID, err error) {
	err = r.do(ctx, "serving", func(ctx context.Context) error {
		flag := "0"
		if serves {
			flag = "1"
		}
		c := servingScript.call(ctx, []string{r.keys.serving}, string(r.node), flag, servingFor.Milliseconds())
		if err := r.run(ctx, c); err != nil {
			return err
		}
		for _, node := range c.Val() {
			nodes = append(nodes, bridge.NodeID(node))
		}
		slices.Sort(nodes)
		return nil
	})
	return nodes, err
}

// Nodes lists the nodes whose lease lives, by name.
func (r *Redis) Nodes(ctx context.Context) (nodes []bridge.NodeID, err error) {
	err = r.do(ctx, "nodes", func(ctx context.Context) error {
		m, err := r.membersAfter(ctx, r.membership.Load())
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
