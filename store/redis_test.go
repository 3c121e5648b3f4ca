package store_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/bridge/bridgetest"
	"github.com/codewar/socketbridge/internal/wait"
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
	reg := bridge.Registration{User: "u", Socket: "s", Limit: 10}
	must(t, second(r.Beat(ctx)))
	must(t, second(r.Register(ctx, reg)))
	must(t, second(r.Append(ctx, []bridge.Entry{entry("u", 1, false)})))
	must(t, r.Claim(ctx, 1))
	must(t, r.SaveCheckpoint(ctx, 1, offset(1)))

	server.FlushAll()

	if err := r.SaveCheckpoint(ctx, 1, offset(2)); !errors.Is(err, bridge.ErrNotLeader) {
		t.Errorf("SaveCheckpoint in the lost term: %v", err)
	}
	if term, o, err := r.Checkpoint(ctx); err != nil || term != 0 || !o.IsZero() {
		t.Errorf("Checkpoint: term %d, %v, %v", term, o, err)
	}
	must(t, r.Claim(ctx, 2))
	rejoined, err := r.Beat(ctx)
	if err != nil || !rejoined {
		t.Errorf("Beat: rejoined %t, %v", rejoined, err)
	}
	reg.After = new(offset(1))
	page, err := r.Register(ctx, reg)
	if err != nil || page.Gap || len(page.Entries) > 0 {
		t.Errorf("Register: %+v, %v", page, err)
	}
	got, err := r.Append(ctx, []bridge.Entry{entry("u", 2, true)})
	if err != nil || len(got[0].Sockets) != 1 {
		t.Errorf("Append: %+v, %v", got, err)
	}
}

func TestRedisForgetsScripts(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t)
	r := opener(t, server, bridgetest.Limits{})("a")
	must(t, second(r.Beat(t.Context())))
	for i := range 3 {
		server.FlushScripts()
		var batch []bridge.Entry
		for j := range uint64(100) {
			batch = append(batch, entry(bridge.UserID(fmt.Sprint("u", j%7)), uint64(i)*1000+j+1, false))
		}
		got, err := r.Append(t.Context(), batch)
		must(t, err)
		for j, a := range got {
			if a.Refused {
				t.Errorf("round %d, entry %d refused", i, j)
			}
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
	must(t, second(b.Register(ctx, bridge.Registration{User: "u", Socket: "s", Limit: 1})))
	must(t, b.Leave(ctx))
	must(t, second(a.Beat(ctx)))
	if got, err := a.Locate(ctx, "u"); err != nil || len(got) > 0 {
		t.Fatalf("Locate: %v, %v", got, err)
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
		"append":   func() error { return second(r.Append(ctx, []bridge.Entry{entry("u", 1, false)})) },
		"register": func() error { return second(r.Register(ctx, bridge.Registration{User: "u", Socket: "s"})) },
		"locate":   func() error { return second(r.Locate(ctx, "u")) },
		"beat":     func() error { return second(r.Beat(ctx)) },
		"claim":    func() error { return r.Claim(ctx, 1) },
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
	waitFor(t, "redis answers again", func() bool { return operations["append"]() == nil })
	if got, err := r.Read(ctx, "u", bridge.Offset{}, 10); err != nil || len(got.Entries) != 1 {
		t.Errorf("Read: %+v, %v", got, err)
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
	if _, _, err := r.Checkpoint(t.Context()); !errors.Is(err, bridge.ErrUnavailable) {
		t.Errorf("Checkpoint without a server: %v", err)
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

func TestObserve(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t)
	m, r := store.NewMemory(store.Limits{}), opener(t, server, bridgetest.Limits{})("a")
	seen := map[string]int{}
	observe := func(op string, _ time.Duration, err error) {
		if err == nil {
			seen[op]++
		}
	}
	m.Observe, r.Observe = observe, observe
	for _, s := range []bridge.Store{m.Node("a"), r} {
		must(t, second(s.Append(t.Context(), []bridge.Entry{entry("u", 1, true)}))) // lists the nodes as well
	}
	if len(seen) != 1 || seen["append"] != 2 {
		t.Errorf("observed %v, want one append of each", seen)
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

func entry(user bridge.UserID, seq uint64, only bool) bridge.Entry {
	return bridge.Entry{
		Envelope:      &bridge.Envelope{User: user, Topic: "submissionUpdate", Payload: []byte(`{"a":1}`), Offset: offset(seq)},
		OnlyIfPresent: only,
	}
}

var waitFor = wait.For

// TestRedisRefusesEntries: what Redis does not take, though it takes the mark after it,
// is not appended: not when the leader tries again, and not for another leader.
func TestRedisRefusesEntries(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t)
	open := opener(t, server, bridgetest.Limits{})
	a, b, ctx := open("a"), open("b"), t.Context()
	must(t, second(a.Beat(ctx)))
	must(t, second(b.Beat(ctx)))
	must(t, a.Claim(ctx, 1))
	must(t, second(a.Append(ctx, []bridge.Entry{entry("u", 1, false), entry("v", 2, false)}))) // now it knows them by heart
	server.Do("ACL SETUSER default -xadd")
	for _, r := range []*store.Redis{a, b, a} {
		if got, err := r.Append(ctx, []bridge.Entry{entry("u", 3, false), entry("v", 4, false)}); err == nil {
			t.Errorf("refused, and no error: %+v", got)
		}
	}
	server.Do("ACL SETUSER default +xadd")
	for user, r := range map[bridge.UserID]*store.Redis{"u": a, "v": b} {
		seq := map[bridge.UserID]uint64{"u": 3, "v": 4}[user]
		if got, err := r.Append(ctx, []bridge.Entry{entry(user, seq, false)}); err != nil || got[0].Refused {
			t.Errorf("%s: %+v, %v", user, got, err)
		}
		page, err := r.Read(ctx, user, bridge.Offset{}, 10)
		if err != nil || len(page.Entries) != 2 {
			t.Errorf("%s has %d messages, want 2: %v", user, len(page.Entries), err)
		}
	}
}
