package store_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/bridge/bridgetest"
	"github.com/codewar/socketbridge/store"
	"github.com/codewar/socketbridge/store/redistest"
)

// TestTogetherKeepsErrorsApart: among calls that share a round trip, the one that
// fails fails alone, also when the server has lost its scripts.
func TestTogetherKeepsErrorsApart(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t)
	cfg := store.Config{Addrs: []string{server.Addr}, Prefix: "p", Timeout: 10 * time.Second}
	r := openRedis(t, cfg, bridgetest.Limits{}, "a")
	ctx := t.Context()
	must(t, second(r.Beat(ctx)))
	client := redis.NewClient(&redis.Options{Addr: server.Addr, Protocol: 2})
	defer client.Close()
	must(t, client.Set(ctx, "p:presence:{bad}", "of another program", 0).Err())
	must(t, client.ScriptFlush(ctx).Err())

	const calls = 300
	var wg sync.WaitGroup
	var errs [calls]error
	for i := range calls {
		user := bridge.UserID(fmt.Sprint("u", i))
		wg.Go(func() {
			switch i % 3 {
			case 0:
				_, errs[i] = r.Register(ctx, bridge.Registration{User: "bad", Socket: "s", Token: "t"})
			case 1:
				_, errs[i] = r.Session(ctx, fmt.Sprint("pid", i))
			default:
				_, errs[i] = r.Register(ctx, bridge.Registration{User: user, Socket: "s", Token: "t"})
			}
		})
	}
	wg.Wait()
	for i, err := range errs {
		switch i % 3 {
		case 0:
			if _, answered := errors.AsType[redis.Error](err); !answered || errors.Is(err, bridge.ErrUnavailable) {
				t.Errorf("call %d: %v, want what the server answered", i, err)
			}
		case 1:
			if !errors.Is(err, bridge.ErrNoSession) {
				t.Errorf("call %d: %v, want %v", i, err, bridge.ErrNoSession)
			}
		default:
			if err != nil {
				t.Errorf("call %d: %v", i, err)
			}
			if found := r.Locate(ctx, []bridge.UserID{bridge.UserID(fmt.Sprint("u", i))})[0]; found.Err != nil || len(found.Sockets) != 1 {
				t.Errorf("call %d: located %+v", i, found)
			}
		}
	}
}

// TestTogetherEndsInTime: no caller waits longer than the limit for a server that
// does not answer, however many wait, nor for a store that is closed.
func TestTogetherEndsInTime(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t)
	cfg := store.Config{Addrs: []string{server.Addr}, Prefix: "p", Timeout: 300 * time.Millisecond}
	r := openRedis(t, cfg, bridgetest.Limits{}, "a")
	ctx := t.Context()
	must(t, second(r.Beat(ctx)))
	server.Stop()
	defer server.Cont()
	var wg sync.WaitGroup
	for i := range 2000 {
		wg.Go(func() {
			_, err := r.Register(ctx, bridge.Registration{User: bridge.UserID(fmt.Sprint("u", i)), Socket: "s", Token: "t"})
			if !errors.Is(err, bridge.ErrUnavailable) {
				t.Errorf("call %d: %v, want %v", i, err, bridge.ErrUnavailable)
			}
		})
	}
	began := time.Now()
	wg.Wait()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("2000 calls took %v to fail", took)
	}
}
