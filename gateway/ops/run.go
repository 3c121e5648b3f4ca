package ops

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// pushWindow is over how many samples the times of [Push] go.
const pushWindow = 10

// Run measures each second until ctx ends. What needs an answer from elsewhere is
// asked beside it, so that a store or a NATS that hangs delays no sample.
func (d *Desk) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { d.everySecond(ctx, func(n int) { d.look(ctx, n) }) })
	wg.Go(func() { d.cfg.Feed.run(ctx, d) })
	wg.Go(func() { d.everySecond(ctx, func(int) { d.sample(ctx) }) })
	var ring [pushWindow]bridge.Times
	ring[0] = d.cfg.Hub.Latency()
	before, mapped, at := d.state.Load(), d.cfg.Server.Mapped(), time.Now()
	d.everySecond(ctx, func(n int) {
		times, oldest := d.cfg.Hub.Latency(), ring[0]
		if n >= pushWindow {
			oldest = ring[n%pushWindow]
		}
		pushed := times.Since(oldest)
		ring[n%pushWindow] = times
		now, nowMapped, nowAt := d.measure(&pushed), d.cfg.Server.Mapped(), time.Now()
		d.series.add(nowAt, sampleOf(before, now, nowMapped-mapped, nowAt.Sub(at).Seconds()))
		d.state.Store(now)
		before, mapped, at = now, nowMapped, nowAt
	})
}

// everySecond calls do at once and then each second, with how often it did before.
func (d *Desk) everySecond(ctx context.Context, do func(n int)) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		do(n)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// look asks the store and NATS how they are. The stream is looked at each second
// by the leader, whose lag it tells, and by others now and then.
func (d *Desk) look(ctx context.Context, n int) {
	const others = 5
	seen := *d.seen.Load()
	began := time.Now()
	err := d.cfg.Store.Ping(ctx)
	seen.store = StoreState{Kind: d.cfg.StoreKind, OK: err == nil, PingMillis: seen.store.PingMillis}
	if err != nil {
		seen.store.Error = err.Error()
	} else {
		seen.store.PingMillis = short(millis(time.Since(began)))
		if nodes, err := d.cfg.Store.Nodes(ctx); err == nil {
			if !slices.Contains(nodes, d.cfg.Node) { // about to join again
				nodes = append(nodes, d.cfg.Node)
			}
			seen.nodes = nodes
		}
	}
	if leading, _, _ := d.cfg.Leading(); leading || n%others == 0 {
		limited, cancel := context.WithTimeout(ctx, sampleEvery)
		_ = d.cfg.Look(limited) // NATS that is away shows in NATS.Connected
		cancel()
	}
	seen.reasons, _ = d.cfg.Server.Reasons(ctx)
	d.seen.Store(&seen)
}

// measure reads what this node counts. It does not wait.
func (d *Desk) measure(pushed *bridge.Times) *NodeState {
	seen, stats, balance, pushes := d.seen.Load(), d.cfg.Server.Stats(), d.cfg.Ledger.Balance(), d.cfg.Hub.Pushes()
	s := &NodeState{
		ID: d.cfg.Node, Version: d.cfg.Version, StartedAt: moment(d.started),
		Ready: len(seen.reasons) == 0, Reasons: seen.reasons,
		Sockets: d.cfg.Hub.Sockets(), Users: d.cfg.Hub.Users(), Conns: Connections{stats.Websocket, stats.Polling},
		Goroutines: runtime.NumGoroutine(), RSS: rss(), NATS: d.cfg.NATS(), Store: seen.store,
		Counters: Counters{
			Received: balance.Received, Outcomes: balance.Outcomes, InFlight: balance.InFlight(),
			Took: pushes.Took, Seen: pushes.Seen,
			Drops: stats.Drops, Refusals: d.cfg.Server.Refusals(), Topics: d.cfg.Feed.topics.counts(),
		},
	}
	if leading, read, last := d.cfg.Leading(); leading {
		s.Leader, s.NATS.Read, s.NATS.Last, s.NATS.Lag = true, read, max(last, s.NATS.Last), max(last, s.NATS.Last)-read
	}
	if d.cfg.Canary != nil {
		s.Canary = d.cfg.Canary()
	}
	if pushed != nil {
		s.Push = Push{
			pushed.Count, short(millis(pushed.Quantile(0.5))),
			short(millis(pushed.Quantile(0.99))), short(millis(pushed.Quantile(0.999))),
		}
	}
	return s
}
