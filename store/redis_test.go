package store_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/bridge/bridgetest"
	"github.com/codewar/socketbridge/internal/testutil/metricstest"
	"github.com/codewar/socketbridge/internal/testutil/wait"
	"github.com/codewar/socketbridge/store"
	"github.com/codewar/socketbridge/store/redistest"
)

// opener opens nodes that share a server with nobody else, or by their own prefix.
func opener(t testing.TB, server *redistest.Redis, l bridgetest.Limits) func(bridge.NodeID) *store.Redis {
	// Generous, because the machine may be busy: only failure tests want it short.
	cfg := store.Config{Addrs: []string{server.Addr}, Prefix: "test-" + rand.Text(), Timeout: 10 * time.Second}
	return func(id bridge.NodeID) *store.Redis { return openRedis(t, cfg, l, id) }
}

func openRedis(t testing.TB, cfg store.Config, l bridgetest.Limits, id bridge.NodeID) *store.Redis {
	t.Helper()
	r, err := store.OpenRedis(t.Context(), cfg, store.Limits(l), id, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatalf("OpenRedis: %v", err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return r
}

func TestRedisFlushed(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t)
	r := opener(t, server, bridgetest.Limits{})("a")
	ctx := t.Context()
	reg := bridge.Registration{User: "u", Socket: "s"}
	must(t, second(r.Beat(ctx)))
	must(t, second(r.Register(ctx, reg)))

	server.FlushAll()

	rejoined, err := r.Beat(ctx)
	if err != nil || !rejoined {
		t.Errorf("Beat: rejoined %t, %v", rejoined, err)
	}
	must(t, second(r.Register(ctx, reg)))
	if got := r.Locate(ctx, []bridge.UserID{"u"})[0]; got.Err != nil || len(got.Sockets) != 1 {
		t.Errorf("Locate: %+v", got)
	}
}

func TestRedisForgetsScripts(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t)
	r := opener(t, server, bridgetest.Limits{})("a")
	must(t, second(r.Beat(t.Context())))
	for i := range uint64(3) {
		server.FlushScripts()
		var given []bridge.Delivered
		for j := range 100 {
			given = append(given, bridge.Delivered{User: bridge.UserID(fmt.Sprint("u", j)), From: offset(i), To: offset(i + 1)})
		}
		if i == 0 {
			for j := range given {
				given[j].From = bridge.Offset{}
			}
		}
		must(t, r.Taken(t.Context(), given))
		if got, err := r.Delivered(t.Context(), "u7"); err != nil || got != offset(i+1) {
			t.Errorf("round %d: delivered %v, %v", i, got, err)
		}
	}
}

// A dead node's registrations are not only hidden but removed from Redis.
func TestRedisReapsDeadRegistrations(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t)
	cfg := store.Config{Addrs: []string{server.Addr}}
	a := openRedis(t, cfg, bridgetest.Limits{}, "a")
	b := openRedis(t, cfg, bridgetest.Limits{}, "b")
	ctx := t.Context()
	must(t, second(a.Beat(ctx)))
	must(t, second(b.Beat(ctx)))
	must(t, second(b.Register(ctx, bridge.Registration{User: "u", Socket: "s"})))
	must(t, b.Leave(ctx))
	must(t, second(a.Beat(ctx)))
	if got := a.Locate(ctx, []bridge.UserID{"u"})[0]; got.Err != nil || len(got.Sockets) > 0 {
		t.Fatalf("Locate: %+v", got)
	}
	waitFor(t, "the hash is gone", func() bool { return server.Do("EXISTS bridge:presence:{u}") == ":0" })
}

// A stalled Redis costs a caller about the time limit, whatever the operation,
// soon nothing at all, and is noticed when it goes on.
func TestRedisStalls(t *testing.T) {
	t.Parallel()
	const limit = 200 * time.Millisecond
	server := redistest.Server(t)
	r := openRedis(t, store.Config{Addrs: []string{server.Addr}, Timeout: limit}, bridgetest.Limits{}, "a")
	ctx := t.Context()
	waitFor(t, "the first beat", func() bool { _, err := r.Beat(ctx); return err == nil })

	server.Stop()
	operations := map[string]func() error{
		"taken":    func() error { return r.Taken(ctx, []bridge.Delivered{{User: "u", To: offset(1)}}) },
		"register": func() error { return second(r.Register(ctx, bridge.Registration{User: "u", Socket: "s"})) },
		"locate":   func() error { return r.Locate(ctx, []bridge.UserID{"u"})[0].Err },
		"beat":     func() error { return second(r.Beat(ctx)) },
		"nodes":    func() error { return second(r.Nodes(ctx)) },
		"ping":     func() error { return r.Ping(ctx) },
	}
	fast := 0
	for range 2 {
		for name, op := range operations {
			start := time.Now()
			err := op()
			took := time.Since(start)
			if !errors.Is(err, bridge.ErrUnavailable) {
				t.Errorf("%s of a stalled server: %v", name, err)
			}
			if took > 5*limit { // the limit, and what a busy machine adds
				t.Errorf("%s took %v", name, took)
			}
			if took < limit/10 {
				fast++
			}
		}
	}
	if fast < 6 {
		t.Errorf("only %d of 12 calls failed at once: the breaker did not open", fast)
	}

	server.Cont()
	waitFor(t, "redis answers again", func() bool { return operations["taken"]() == nil })
	if got, err := r.Delivered(ctx, "u"); err != nil || got != offset(1) {
		t.Errorf("Delivered: %v, %v", got, err)
	}
}

func TestRedisComesLate(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t)
	server.Kill()
	r := openRedis(t, store.Config{Addrs: []string{server.Addr}}, bridgetest.Limits{}, "a")
	for range 5 {
		if _, err := r.Beat(t.Context()); !errors.Is(err, bridge.ErrUnavailable) {
			t.Errorf("Beat without a server: %v", err)
		}
	}
	// Calls that the breaker refuses fail like those that were tried.
	if _, err := r.Session(t.Context(), "pid"); !errors.Is(err, bridge.ErrUnavailable) {
		t.Errorf("Session without a server: %v", err)
	}
	if found := r.Locate(t.Context(), []bridge.UserID{"u", "v"}); !errors.Is(found[0].Err, bridge.ErrUnavailable) || !errors.Is(found[1].Err, bridge.ErrUnavailable) {
		t.Errorf("Locate without a server: %v", found)
	}
	server.Restart()
	waitFor(t, "the first beat", func() bool {
		rejoined, err := r.Beat(t.Context())
		return err == nil && rejoined
	})
	server.Kill()
	server.Restart()
	waitFor(t, "the beat of the new server", func() bool {
		rejoined, err := r.Beat(t.Context())
		return err == nil && rejoined
	})
}

// A caller who gives up says nothing about the server.
func TestRedisCallerGivesUp(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t)
	r := openRedis(t, store.Config{Addrs: []string{server.Addr}, Timeout: 10 * time.Second}, bridgetest.Limits{}, "a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 10 {
		if err := r.Ping(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, bridge.ErrUnavailable) {
			t.Errorf("Ping: %v", err)
		}
	}
	must(t, r.Ping(t.Context()))
}

func TestOpenRedisRefuses(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]store.Config{
		"no address":    {},
		"brace":         {Addrs: []string{"x"}, Prefix: "{p}"},
		"cluster db":    {Addrs: []string{"x", "y"}, DB: 1},
		"both kinds":    {Addrs: []string{"x"}, Cluster: true, MasterName: "m"},
		"no such CA":    {Addrs: []string{"x"}, TLS: store.TLS{Enabled: true, CA: "/no/such/file"}},
		"not a CA":      {Addrs: []string{"x"}, TLS: store.TLS{Enabled: true, CA: "redis_test.go"}},
		"no such cert":  {Addrs: []string{"x"}, TLS: store.TLS{Enabled: true, Cert: "/no/such/file"}},
		"negative time": {Addrs: []string{"x"}, Timeout: -1},
	} {
		t.Run(name, func(t *testing.T) {
			if r, err := store.OpenRedis(t.Context(), cfg, store.Limits{}, "a", slog.New(slog.DiscardHandler)); err == nil {
				_ = r.Close()
				t.Error("no error")
			}
		})
	}
}

func TestMeasure(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t)
	m, r := store.NewMemory(store.Limits{}), opener(t, server, bridgetest.Limits{})("a")
	for s, measure := range map[bridge.Store]func(prometheus.Registerer){m.Node("a"): m.Measure, r: r.Measure} {
		reg := prometheus.NewRegistry()
		measure(reg)
		must(t, s.Locate(t.Context(), []bridge.UserID{"u"})[0].Err) // lists the nodes as well
		located, listed := metricstest.Value(t, reg, "bridge_store_seconds", "locate"), metricstest.Value(t, reg, "bridge_store_seconds", "nodes")
		if failed := metricstest.Value(t, reg, "bridge_store_errors_total", "locate"); located != 1 || listed != 0 || failed != 0 {
			t.Errorf("measured %v calls of locate, %v of nodes, %v failed, want one locate", located, listed, failed)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func second[T any](_ T, err error) error { return err }

func offset(seq uint64) bridge.Offset { return bridge.Offset{Epoch: 1_790_000_000_000, Seq: seq} }

var waitFor = wait.For

// While the breaker lets nothing out no command of a Cluster's batch has an error of its own. Its
// users are not known to be away then: senders would be told that they are offline.
func TestClusterAwayIsNobodyOffline(t *testing.T) {
	t.Parallel()
	server := redistest.Cluster(t)
	r := openRedis(t, store.Config{Addrs: []string{server.Addr}, Cluster: true, Timeout: 200 * time.Millisecond}, bridgetest.Limits{}, "a")
	ctx := t.Context()
	waitFor(t, "the first beat", func() bool { _, err := r.Beat(ctx); return err == nil })
	server.Stop()
	defer server.Cont()
	for range 6 { // the breaker opens at the first
		for i, found := range r.Locate(ctx, []bridge.UserID{"u", "v"}) {
			if !errors.Is(found.Err, bridge.ErrUnavailable) {
				t.Errorf("user %d: %+v, want bridge.ErrUnavailable", i, found)
			}
		}
	}
}

// One master of a Cluster that does not answer costs the users of the others nothing: they are found
// or known to be nowhere, and registered, without a wait. The library gives its silence as an error to
// the commands that the others have answered as well.
func TestClusterMasterStalls(t *testing.T) {
	t.Parallel()
	const limit = 4 * time.Second
	low, high := redistest.Masters(t) // high knows the nodes
	r := openRedis(t, store.Config{Addrs: []string{high.Addr}, Cluster: true, Timeout: limit}, bridgetest.Limits{NodeLease: time.Hour}, "a")
	reg := prometheus.NewRegistry()
	r.Measure(reg)
	ctx := t.Context()
	waitFor(t, "the first beat", func() bool { _, err := r.Beat(ctx); return err == nil })
	must(t, second(r.WentBack(ctx)))
	var users []bridge.UserID
	for i := range 40 { // half of them with a socket
		users = append(users, bridge.UserID(fmt.Sprint("u", i)))
		if i%2 == 0 {
			must(t, second(r.Register(ctx, bridge.Registration{User: users[i], Socket: "s"})))
		}
	}
	lost := make([]bool, len(users))
	for i, user := range users {
		slot, err := strconv.Atoi(strings.TrimPrefix(high.Do("CLUSTER KEYSLOT bridge:presence:{"+string(user)+"}"), ":"))
		must(t, err)
		lost[i] = slot < 8192
	}

	low.Stop()
	defer low.Cont()
	var looking sync.WaitGroup
	looking.Go(func() { _, _ = r.WentBack(ctx) }) // waits for the one that is silent
	for range 3 {
		for i, found := range r.Locate(ctx, users) {
			switch {
			case lost[i] && !errors.Is(found.Err, bridge.ErrUnavailable):
				t.Errorf("%s, whose master is away: %+v, want bridge.ErrUnavailable", users[i], found)
			case !lost[i] && (found.Err != nil || len(found.Sockets) != 1-i%2):
				t.Errorf("%s, whose master answers: %+v", users[i], found)
			}
		}
	}
	begun := time.Now()
	for range 10 {
		_ = r.Locate(ctx, users)
		for i, user := range users {
			if err := second(r.Register(ctx, bridge.Registration{User: user, Socket: "s"})); (err != nil) != lost[i] {
				t.Errorf("register %s, lost %t: %v", user, lost[i], err)
			}
		}
	}
	if took := time.Since(begun); took > limit/2 {
		t.Errorf("430 calls took %v, with a limit of %v for each that waits", took, limit)
	}
	waitFor(t, "a master counts as away", func() bool { return metricstest.Value(t, reg, "bridge_redis_away") == 1 })
	looking.Wait()
	low.Cont()
	waitFor(t, "the master answers again", func() bool {
		return !slices.ContainsFunc(r.Locate(ctx, users), func(at bridge.Located) bool { return at.Err != nil })
	})
}

// TestRisksOfAServer: the log names what endangers a server's keys, once.
func TestRisksOfAServer(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t)
	r := openRedis(t, store.Config{Addrs: []string{server.Addr}}, bridgetest.Limits{}, "a")
	if got, err := r.Risks(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("Risks: %q, %v", got, err)
	}
	server.Do("CONFIG SET maxmemory 100mb")
	server.Do("CONFIG SET maxmemory-policy allkeys-lru")
	if got, err := r.Risks(t.Context()); err != nil || len(got) != 1 || !strings.Contains(got[0], "is allkeys-lru") {
		t.Errorf("Risks: %q, %v", got, err)
	}
	server.Kill()
	if _, err := r.Risks(t.Context()); !errors.Is(err, bridge.ErrUnavailable) {
		t.Errorf("Risks without a server: %v", err)
	}
}
