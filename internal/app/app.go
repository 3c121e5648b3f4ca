// Package app starts the parts of the program, connects them, and stops them in order.
package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway"
	"github.com/codewar/socketbridge/gateway/admin"
	"github.com/codewar/socketbridge/gateway/hub"
	"github.com/codewar/socketbridge/internal/buildinfo"
	"github.com/codewar/socketbridge/internal/config"
	"github.com/codewar/socketbridge/internal/logging"
	"github.com/codewar/socketbridge/internal/metrics"
	"github.com/codewar/socketbridge/internal/tracing"
	"github.com/codewar/socketbridge/subscriber"
)

// Run serves until ctx ends or a part fails, and then stops all parts in the reverse order of
// their start.
func Run(ctx context.Context, cfg config.Config, stderr io.Writer) (err error) {
	defer ballast()()
	node := bridge.NodeID(cmp.Or(cfg.Node.ID, rand.Text()))
	handler := logging.New(cfg.Log, stderr)
	handler.RequestID = gateway.RequestID
	log := slog.New(handler).With("node", string(node))
	if n, known := descriptorLimit(); known {
		cfg = fitDescriptors(cfg, n, log)
	}
	for _, w := range cfg.Warnings() {
		log.LogAttrs(ctx, slog.LevelWarn, "configuration", slog.String("warning", w))
	}
	asked := ctx
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var down shutdown
	defer func() { err = errors.Join(err, down.run(ctx, log)) }()

	reg := metrics.NewRegistry(buildinfo.Version, buildinfo.Revision())
	st, err := openStore(ctx, cfg, node, reg, log)
	if err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	down.add("store", 2*time.Second, func(ctx context.Context) error {
		return errors.Join(st.Leave(ctx), st.Close())
	})
	sub, err := subscriber.Open(ctx, cfg.NATS, node, log)
	if err != nil {
		return fmt.Errorf("open nats: %w", err)
	}
	down.add("nats", 5*time.Second, sub.Close)
	sub.Measure(reg)

	traces, err := tracing.Open(ctx, cfg.Traces, node, log)
	if err != nil {
		return err
	}
	if traces != nil {
		down.add("traces", 5*time.Second, traces.Shutdown)
	}
	index := bridge.NewIndex(bridge.IndexConfig{TTL: cfg.History.TTL, MaxPerUser: cfg.History.MaxPerUser, MaxMemory: cfg.History.MaxMemory, Metrics: reg})
	history := sub.NewHistory(index)
	hub := hub.New(st, history, hub.Config{
		LatestOnly: cfg.Sockets.PerUser == config.PerUserLatest,
		MaxPending: cfg.Sockets.MaxPending,
		SessionTTL: hub.SessionTTL(cfg.History.TTL),
		MaxLeft:    cmp.Or(cfg.Sockets.MaxConnections, 100_000),
		MaxPerUser: cfg.Sockets.MaxPerUser,
		MaxBinding: cfg.Sockets.MaxBinding,
		Stream:     sub,
		Peers:      peers{sub},
		Begin:      traces.BeginFunc(),

		Unregistered: sub.SetUnregistered,
		Metrics:      reg,
	}, log)
	feed := admin.NewFeed(node)
	records := sub.NewRecords(subscriber.RecordsConfig{Most: cfg.History.Traces, TTL: recordTTL(cfg)})
	var saver bridge.RecordSaver // nil: nothing is recorded
	if cfg.History.Traces > 0 {
		saver = records
	}
	router := bridge.NewRouter(bridge.RouterConfig{
		Node:       node,
		LatestOnly: cfg.Sockets.PerUser == config.PerUserLatest,
		AckTimeout: cfg.Sockets.AckTimeout,
		Settled:    feed.Settled,
		Records:    saver,
		Begin:      traces.BeginFunc(),
		Metrics:    reg,
	}, st, index, hub, sub, sub, log)
	intake := sub.NewIntake(index, history, subscriber.IntakeConfig{Window: cfg.History.TTL, Readers: cfg.Intake.Readers, Metrics: reg}, subscriber.IntakeHandler{
		Keep: router.Keep,
		Begin: func(term uint64) {
			hub.Resync() // forwards of the previous leader may have been lost
			router.Begin(term)
		},
		Route:  router.Route,
		End:    router.End,
		Handed: router.Progress,
	})
	authConfig, err := openAuth(cfg, log)
	if err != nil {
		return fmt.Errorf("open auth: %w", err)
	}
	checks := []gateway.Check{
		{Name: "nats", Err: func(context.Context) error { return sub.Ready() }},
		{Name: "store", Err: st.Ping, Degrades: true},
		{Name: "node", Err: func(context.Context) error { return sub.IdentityErr() }},
	}
	free := make(chan struct{})
	down.add("node id", time.Second, background(func(ctx context.Context) { sub.KeepIdentity(ctx, func() { close(free) }) }))
	if v := authConfig.Verifier; v != nil {
		down.add("auth", 2*time.Second, background(v.Run))
		checks = append(checks, gateway.Check{Name: "auth", Err: func(context.Context) error { return v.Ready() }})
	}
	canary := newCanary(cfg.Canary, node, sub, reg, log)
	if canary != nil {
		checks = append(checks, gateway.Check{Name: "canary", Err: func(context.Context) error { return canary.Err() }})
	}
	serving := gatewayConfig(cfg, authConfig)
	serving.Publish.Unproven, serving.Records = sub.Unproven, records
	srv := gateway.NewServer(serving, hub, st, publisher(sub), checks, reg, log)
	deps := adminConfig(cfg)
	deps.Node, deps.Hub, deps.Server, deps.Ledger = node, hub, srv, router.Ledger()
	deps.Store, deps.History, deps.Feed, deps.Log = lookUps{st, records}, history, feed, handler
	deps.Look, deps.QueryNodes, deps.Tell = sub.Look, sub.QueryNodes, sub.NotifyNode
	deps.NATS = func() admin.NATS { return natsState(sub.Status()) }
	deps.DeadLetters, deps.Canary = letters(sub), canaryState(canary)
	deps.Leading = func() (leading bool, read, last uint64) {
		lag := intake.Lag()
		return intake.Leading(), lag.Read, lag.Last
	}
	operators := admin.New(deps, log)
	var cert, opsCert *gateway.Certificate
	if cfg.HTTP.TLS.Cert != "" {
		if cert, err = gateway.OpenCertificate(cfg.HTTP.TLS.Cert, cfg.HTTP.TLS.Key, log); err != nil {
			return err
		}
		down.add("certificate", time.Second, background(cert.Watch))
		cert.Measure(reg)
		if cfg.Ops.TLS {
			opsCert = cert
		}
	}
	srv.Hold()
	down.add("listeners", time.Second, func(ctx context.Context) error { return srv.Shutdown(ctx, 0) }) // after a failed start; otherwise the step gateway has closed them
	if err := listen("http.addr", cfg.HTTP.Addr, func(l net.Listener) error { return srv.Serve(l, cert) }, fail, log); err != nil {
		return err
	}
	if cfg.Ops.Addr != "" {
		if err := listen("ops.addr", cfg.Ops.Addr, func(l net.Listener) error { return srv.ServeOps(l, opsCert) }, fail, log); err != nil {
			return err
		}
	}
	// Another living process may have this node id. Until that is excluded, this node accepts no
	// sockets and takes no lease: they would replace those of the other process.
	select {
	case <-free:
	case <-ctx.Done():
		return ended(asked, ctx)
	}
	down.add("hub", 2*time.Second, background(hub.Run))
	if err := sub.ReceiveForwards(receiver(hub), func() { history.AskAgain(); hub.Resync() }); err != nil {
		return fmt.Errorf("receive forwards: %w", err)
	}
	member := bridge.Member{Lease: cfg.Node.Lease, Beat: st.Beat, WentBack: st.WentBack, Rejoined: hub.Rejoined, Away: hub.StoreAway, Log: log}
	down.add("lease", 2*time.Second, background(member.Run))
	down.add("audit", time.Second, background(func(ctx context.Context) { router.Ledger().Audit(ctx, log) }))
	if err := sub.ServeQueries(answering(hub, operators.Answer)); err != nil {
		return err
	}
	down.add("operators", 2*time.Second, background(operators.Run))
	down.add("gateway", cfg.Drain.Duration+10*time.Second, func(ctx context.Context) error {
		return srv.Shutdown(ctx, cfg.Drain.Duration)
	})
	down.add("console", 5*time.Second, operators.Close) // before the gateway, which would wait for its long polls
	running := make(chan struct{})
	go func() {
		defer close(running)
		if err := intake.Run(context.WithoutCancel(ctx)); err != nil {
			fail(fmt.Errorf("intake: %w", err))
		}
	}()
	down.add("intake", 10*time.Second, func(ctx context.Context) error {
		err := intake.Drain(ctx)
		<-running
		return err
	})
	if canary != nil {
		down.add("canary", 3*time.Second, background(runCanary(canary, node, hub)))
	}
	down.add("payloads", cfg.HTTP.ReplyTimeout+time.Second, srv.DrainPayloads)
	down.add("serving", 2*time.Second, background(func(ctx context.Context) { srv.KeepServing(ctx, node, st) }))
	srv.SetReady()
	down.add("readiness", cfg.HTTP.ShutdownDelay+time.Second, func(ctx context.Context) error {
		return srv.Unready(ctx, cfg.HTTP.ShutdownDelay)
	})
	log.LogAttrs(ctx, slog.LevelInfo, "started", slog.String("version", buildinfo.Version), slog.String("http", cfg.HTTP.Addr), slog.Bool("tls", cfg.HTTP.TLS.Cert != ""),
		slog.Bool("embedded_nats", cfg.NATS.URL == ""), slog.Bool("memory_store", len(cfg.Redis.Addrs) == 0))

	<-ctx.Done()
	if asked.Err() != nil {
		log.LogAttrs(ctx, slog.LevelInfo, "stopping")
	}
	return ended(asked, ctx)
}

// ended returns why ctx has ended: nil if asked, the context of the caller, has ended.
func ended(asked, ctx context.Context) error {
	if asked.Err() != nil {
		return nil
	}
	return context.Cause(ctx)
}

// listen binds an address and serves it in the background. If serving fails later, the program ends
// with that error.
func listen(key, addr string, serve func(net.Listener) error, fail context.CancelCauseFunc, log *slog.Logger) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listen on %s %s: %w", key, addr, err)
	}
	log.LogAttrs(context.Background(), slog.LevelInfo, "listening", slog.String("key", key), slog.String("addr", l.Addr().String()))
	go func() { // ends with srv.Shutdown, or with an error
		if err := serve(l); err != nil {
			fail(fmt.Errorf("serve %s: %w", key, err))
		}
	}()
	return nil
}

// background starts run in a goroutine. The function that it returns cancels run's context and waits.
func background(run func(context.Context)) (stop func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		run(ctx)
	}()
	return func(ctx context.Context) error {
		cancel()
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
