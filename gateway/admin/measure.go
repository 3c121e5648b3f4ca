package admin

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/codewar/socketbridge/internal/metrics"
)

// pushWindow is over how many samples the times of [Push] go.
const pushWindow = 10

// Run measures each second until ctx ends. What needs an answer from elsewhere is
// asked beside it, so that a store or a NATS that hangs delays no sample.
func (sv *Service) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { sv.everySecond(ctx, func(n int) { sv.look(ctx, n) }) })
	wg.Go(func() { sv.deps.Feed.run(ctx, sv) })
	wg.Go(func() { sv.everySecond(ctx, func(int) { sv.sample(ctx) }) })
	var ring [pushWindow]metrics.Times
	ring[0] = sv.deps.Hub.Latency()
	before, mapped, at := sv.state.Load(), sv.deps.Server.Clients().Mapped(), time.Now()
	sv.everySecond(ctx, func(n int) {
		times, oldest := sv.deps.Hub.Latency(), ring[0]
		if n >= pushWindow {
			oldest = ring[n%pushWindow]
		}
		pushed := times.Since(oldest)
		ring[n%pushWindow] = times
		now, nowMapped, nowAt := sv.measure(&pushed), sv.deps.Server.Clients().Mapped(), time.Now()
		sv.series.add(nowAt, sampleOf(before, now, nowMapped-mapped, nowAt.Sub(at).Seconds()))
		sv.state.Store(now)
		before, mapped, at = now, nowMapped, nowAt
	})
}

// everySecond calls do at once and then each second, with how often it did before.
func (sv *Service) everySecond(ctx context.Context, do func(n int)) {
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
func (sv *Service) look(ctx context.Context, n int) {
	const others = 5
	seen := *sv.seen.Load()
	began := time.Now()
	err := sv.deps.Store.Ping(ctx)
	seen.store = StoreState{Kind: sv.deps.StoreKind, OK: err == nil, PingMillis: seen.store.PingMillis}
	if err != nil {
		seen.store.Error = err.Error()
	} else {
		seen.store.PingMillis = short(millis(time.Since(began)))
		if nodes, err := sv.deps.Store.Nodes(ctx); err == nil {
			if !slices.Contains(nodes, sv.deps.Node) { // about to join again
				nodes = append(nodes, sv.deps.Node)
			}
			seen.nodes = nodes
		}
	}
	if leading, _, _ := sv.deps.Leading(); leading || n%others == 0 {
		limited, cancel := context.WithTimeout(ctx, sampleEvery)
		_ = sv.deps.Look(limited) // NATS that is away shows in NATS.Connected
		cancel()
	}
	seen.reasons, _ = sv.deps.Server.Reasons(ctx)
	sv.seen.Store(&seen)
}

// measure reads what this node counts. It does not wait.
func (sv *Service) measure(pushed *metrics.Times) *NodeState {
	seen, stats, balance := sv.seen.Load(), sv.deps.Server.Stats(), sv.deps.Ledger.Balance()
	took, had := sv.deps.Hub.Pushes()
	s := &NodeState{
		ID: sv.deps.Node, Version: sv.deps.Version, StartedAt: moment(sv.started),
		Ready: len(seen.reasons) == 0, Reasons: seen.reasons,
		Sockets: sv.deps.Hub.Sockets(), Users: sv.deps.Hub.Users(), Conns: Connections{int(stats.Websocket), int(stats.Polling)},
		Goroutines: runtime.NumGoroutine(), RSS: rss(), NATS: sv.deps.NATS(), Store: seen.store,
		Counters: Counters{
			Received: balance.Received, Outcomes: balance.Outcomes, InFlight: balance.InFlight(),
			Took: took, Seen: had,
			Drops: stats.Drops, Refusals: sv.deps.Server.Refusals(), Topics: sv.deps.Feed.topics.counts(),
		},
	}
	if leading, read, last := sv.deps.Leading(); leading {
		s.Leader, s.NATS.Read, s.NATS.Last, s.NATS.Lag = true, read, max(last, s.NATS.Last), max(last, s.NATS.Last)-read
	}
	if sv.deps.Canary != nil {
		s.Canary = sv.deps.Canary()
	}
	if pushed != nil {
		s.Push = Push{
			pushed.Count, short(millis(pushed.Quantile(0.5))),
			short(millis(pushed.Quantile(0.99))), short(millis(pushed.Quantile(0.999))),
		}
	}
	return s
}
