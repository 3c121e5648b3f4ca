package store

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/codewar/socketbridge/bridge"
)

func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &breaker{log: slog.New(slog.DiscardHandler)}
		asked := 0
		call := func(err error) error {
			return b.guard(t.Context(), func() error { asked++; return err })
		}
		silence := errors.New("connection refused")

		for range breakerFailures - 1 {
			_ = call(silence)
		}
		_ = call(redis.Nil) // an answer: counting starts again
		for range breakerFailures {
			if err := call(silence); !errors.Is(err, bridge.ErrUnavailable) || !errors.Is(err, silence) {
				t.Errorf("silence: %v", err)
			}
		}

		asked = 0
		for range 10 {
			if err := call(nil); !errors.Is(err, bridge.ErrUnavailable) {
				t.Errorf("open: %v", err)
			}
		}
		if asked != 0 {
			t.Errorf("open: %d calls went out", asked)
		}

		time.Sleep(breakerPause)
		during := errors.New("not called")
		_ = b.guard(t.Context(), func() error {
			during = call(nil) // while the probe is out
			return silence
		})
		if !errors.Is(during, bridge.ErrUnavailable) || asked != 0 {
			t.Errorf("second call beside the probe: %v, %d went out", during, asked)
		}
		if err := call(nil); err == nil {
			t.Error("the probe failed and the next call went out at once")
		}

		time.Sleep(breakerPause)
		for range 5 {
			if err := call(nil); err != nil {
				t.Errorf("closed again: %v", err)
			}
		}
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
