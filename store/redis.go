package store

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/codewar/socketbridge/bridge"
)

var _ bridge.Store = (*Redis)(nil)

// Redis is the store of a bridge of many nodes. It works on a single server,
// behind Sentinel and on a Cluster, with Redis 6.2 or later or Valkey.
//
// What another node registers is seen at once; that another node has
// died or started again is seen within a third of the node lease. No call
// takes longer than about Config.Timeout. Safe for concurrent use.
type Redis struct {
	client   redis.UniversalClient
	keys     keyspace
	node     bridge.NodeID
	limits   Limits
	timeout  time.Duration
	breakers breakers
	log      *slog.Logger
	args     fixedArgs
	metrics  *opMetrics // nil without Measure

	usersPerCall int
	cluster      bool
	canaries     *canaries

	self       atomic.Pointer[string]     // this node's incarnation; nil before the first Beat and after Leave
	membership atomic.Pointer[membership] // replaced by its holder
	asking     chan struct{}              // holds a token while a caller requests the members

	waiting  chan pipelineRequest   // senders: pipelined; receiver: runPipeline
	cleaning chan staleRegistration // senders: look-ups that find one of a dead node; receiver: cleanUp
	life     context.Context
	end      context.CancelFunc
	owned    sync.WaitGroup              // cleanUp, runPipeline and watchMemory
	memory   atomic.Pointer[redisMemory] // never nil
}

// fixedArgs are script arguments that never change, boxed once.
type fixedArgs struct{ marksTTL any }

var quietClient = sync.OnceFunc(logging.Disable) // it prints to stderr what it returns as an error as well

// OpenRedis makes the store of one node. It fails only on a bad configuration:
// a Redis that is not there may come later, and every call finds out for itself.
// ctx bounds the opening only; the caller must Close the store.
func OpenRedis(_ context.Context, cfg Config, limits Limits, node bridge.NodeID, log *slog.Logger) (*Redis, error) {
	cfg, limits = cfg.withDefaults(), limits.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("redis configuration: %w", err)
	}
	opts, err := cfg.options()
	if err != nil {
		return nil, fmt.Errorf("redis configuration: %w", err)
	}
	quietClient()
	log = log.With("component", "store")
	r := &Redis{
		client:       redis.NewUniversalClient(opts),
		keys:         newKeyspace(cfg.Prefix),
		node:         node,
		limits:       limits,
		timeout:      cfg.Timeout,
		log:          log,
		args:         fixedArgs{limits.marksTTL().Milliseconds()},
		usersPerCall: usersPerCall,
		cluster:      cfg.isCluster(),
		canaries:     newCanaries(),
		asking:       make(chan struct{}, 1),
		waiting:      make(chan pipelineRequest, mostWaiting),
		cleaning:     make(chan staleRegistration, 256),
	}
	if r.cluster {
		r.usersPerCall = 1
	}
	r.memory.Store(new(redisMemory))
	r.life, r.end = context.WithCancel(context.Background())
	r.breakers.life, r.breakers.timeout, r.breakers.log = r.life, r.timeout, log
	switch client := r.client.(type) {
	case *redis.Client:
		r.breakers.watch(client)
	case *redis.ClusterClient:
		r.breakers.reload = func() { client.ReloadState(r.life) }
		client.OnNewNode(r.breakers.watch)
	}
	r.owned.Go(r.cleanUp)
	r.owned.Go(r.runPipeline)
	r.owned.Go(r.watchMemory)
	return r, nil
}

// Ping reports whether Redis answers.
func (r *Redis) Ping(ctx context.Context) error {
	return r.do(ctx, "ping", func(ctx context.Context) error {
		return r.send(ctx, func(p redis.Pipeliner) { p.Ping(ctx) })
	})
}

// Close releases the connections. It gives no lease up: see [Redis.Leave].
func (r *Redis) Close() error {
	r.end()
	r.owned.Wait()
	r.breakers.probes.Wait()
	if err := r.client.Close(); err != nil {
		return fmt.Errorf("close redis: %w", err)
	}
	return nil
}

// do runs one operation within the time limit, and has it observed once,
// however many round trips it makes.
func (r *Redis) do(ctx context.Context, op string, f func(context.Context) error) error {
	start := time.Now()
	limited, cancel := context.WithTimeoutCause(ctx, r.timeout, errTooSlow)
	err := f(limited)
	cancel()
	r.metrics.observe(op, time.Since(start), err)
	if err != nil {
		return fmt.Errorf("redis %s: %w", op, err)
	}
	return nil
}

// send makes the one round trip (one to each server of a Cluster) that all
// commands go through. It returns the first error of a command.
func (r *Redis) send(ctx context.Context, queue func(redis.Pipeliner)) error {
	p := r.client.Pipeline()
	queue(p)
	_, err := p.Exec(ctx)
	return unavailable(ctx, err)
}

// run sends commands in one round trip. Script calls that a server refused because
// it does not have the script, which happens when another program flushed them, are
// sent again.
func (r *Redis) run(ctx context.Context, cmds ...redis.Cmder) error {
	err := r.sendAll(ctx, cmds)
	if !slices.ContainsFunc(cmds, func(c redis.Cmder) bool { return noScript(c.Err()) }) {
		return err
	}
	for _, s := range scripts {
		err := r.client.ScriptLoad(ctx, s.source).Err() // to every master
		if err != nil && judge(ctx, err) == answered {
			return fmt.Errorf("load scripts: %w", err)
		} // else the calls to the one that is silent say so
	}
	var again []redis.Cmder
	for _, c := range cmds {
		if noScript(c.Err()) {
			c.SetErr(nil)
			again = append(again, c)
		}
	}
	if err := r.sendAll(ctx, again); err != nil {
		return err
	}
	for _, c := range cmds { // the first round's other errors
		if err := c.Err(); err != nil {
			return err
		}
	}
	return nil
}

func (r *Redis) sendAll(ctx context.Context, cmds []redis.Cmder) error {
	return r.send(ctx, func(p redis.Pipeliner) { _ = p.BatchProcess(ctx, cmds...) }) // only queues
}

// forEachMaster calls do for each master at the same time, and returns the first error.
func (r *Redis) forEachMaster(ctx context.Context, do func(context.Context, *redis.Client) error) error {
	if cluster, ok := r.client.(*redis.ClusterClient); ok {
		return cluster.ForEachMaster(ctx, do)
	}
	return do(ctx, r.client.(*redis.Client))
}

// cmders are script calls as [Redis.run] takes them.
func cmders(calls []*redis.StringSliceCmd) []redis.Cmder {
	cmds := make([]redis.Cmder, len(calls))
	for i, c := range calls {
		cmds[i] = c
	}
	return cmds
}

// noScript matches an error's first word, which is the protocol's error code.
func noScript(err error) bool { return redis.HasErrorPrefix(err, "NOSCRIPT") }
