package store

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/codewar/socketbridge/bridge"
)

// TestBreaker: one silence opens it, for calls of each kind; a probe that is answered closes it.
func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		life, end := context.WithCancel(t.Context())
		silence := errors.New("connection refused")
		var asked int
		var answer error
		var pings, reloads atomic.Int64
		var pong atomic.Pointer[error]
		say := func(of, ping error) { answer = of; pong.Store(&ping) }
		bs := &breakers{life: life, timeout: time.Second, log: slog.New(slog.DiscardHandler), reload: func() { reloads.Add(1) }}
		b := &breaker{breakers: bs, ping: func(ctx context.Context) error {
			pings.Add(1)
			if b := ctx.Value(probing{}); b == nil {
				t.Error("the probe would be refused")
			}
			return *pong.Load()
		}}
		one := b.ProcessHook(func(context.Context, redis.Cmder) error { asked++; return answer })
		many := b.ProcessPipelineHook(func(context.Context, []redis.Cmder) error { asked++; return answer })
		cmd := redis.NewCmd(life, "get")
		call := func() error { return one(life, cmd) }
		calls := func() error { return many(life, []redis.Cmder{cmd}) }

		for _, fine := range []error{nil, redis.Nil, redis.ErrPoolTimeout} {
			if answer = fine; !errors.Is(call(), fine) || !errors.Is(calls(), fine) {
				t.Errorf("an answer of %v", fine)
			}
		}
		synctest.Wait()
		if n := pings.Load(); n != 0 {
			t.Errorf("%d probes without a silence", n)
		}

		say(silence, silence)
		if err := calls(); !errors.Is(err, silence) {
			t.Errorf("silence: %v", err)
		}
		asked = 0
		time.Sleep(3 * time.Second)
		synctest.Wait()
		for _, try := range []func() error{call, calls} {
			cmd.SetErr(nil)
			if err := try(); !errors.Is(err, bridge.ErrUnavailable) || !errors.Is(cmd.Err(), bridge.ErrUnavailable) {
				t.Errorf("open: %v, of the command %v", err, cmd.Err())
			}
		}
		if asked != 0 || bs.away.Load() != 1 || pings.Load() < 5 || reloads.Load() != pings.Load() {
			t.Errorf("open: %d calls went out, %d servers are away, %d probes, %d reloads", asked, bs.away.Load(), pings.Load(), reloads.Load())
		}

		say(nil, nil)
		time.Sleep(time.Second)
		synctest.Wait()
		if err := call(); err != nil || bs.away.Load() != 0 {
			t.Errorf("answered again: %v, %d servers are away", err, bs.away.Load())
		}

		answer = silence // of one call only
		pings.Store(0)
		_ = call()
		synctest.Wait()
		answer = nil
		if err := calls(); err != nil || pings.Load() != 1 || bs.away.Load() != 0 {
			t.Errorf("after one silence: %v, %d probes, %d servers are away", err, pings.Load(), bs.away.Load())
		}

		for _, over := range []func(){func() { say(nil, redis.ErrClosed) }, end} { // it has left the Cluster; the store is closed
			say(silence, silence)
			_ = call()
			time.Sleep(time.Second)
			synctest.Wait()
			over()
			time.Sleep(time.Second)
			synctest.Wait()
			if bs.away.Load() != 0 {
				t.Error("a server counts as away that nothing asks any more")
			}
		}
		bs.probes.Wait()
	})
}

func TestJudge(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	slow, stop := context.WithTimeoutCause(t.Context(), 0, errTooSlow)
	defer stop()
	<-slow.Done()
	for name, c := range map[string]struct {
		ctx  context.Context
		err  error
		want verdict
	}{
		"no error":          {t.Context(), nil, answered},
		"no such key":       {t.Context(), redis.Nil, answered},
		"torn":              {t.Context(), errors.New("EOF"), silent},
		"our limit":         {slow, context.DeadlineExceeded, silent},
		"the caller's will": {canceled, context.Canceled, abandoned},
	} {
		if got := judge(c.ctx, c.err); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
