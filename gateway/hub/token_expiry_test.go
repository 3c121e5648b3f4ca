package hub

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codewar/socketbridge/internal/metrics"
)

// listener is a page that notes when it is told what.
type listener struct {
	began time.Time
	log   []string
}

func (l *listener) note(what string) {
	l.log = append(l.log, fmt.Sprint(time.Since(l.began), " ", what))
}

func (l *listener) Emit(event string, args ...any) error {
	if m, ok := args[0].(map[string]any); ok {
		event += fmt.Sprint(" in ", m["in"])
	}
	l.note(event)
	return nil
}

func (l *listener) Close(reason string) { l.note("closed: " + reason) }

// TestExpiries: each identity is told in its own time, renewed ones start anew,
// those that have left are not told, and no timer is left.
func TestExpiries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		x := &expiries{warnBefore: time.Minute, ended: newHandlerMetrics(nil).expired}
		defer x.close()
		var all []*identity
		enter := func(ttl time.Duration) (*identity, *listener) {
			l := &listener{began: time.Now()}
			who := &identity{client: l}
			all = append(all, who)
			x.set(who, time.Now().Add(ttl))
			return who, l
		}
		_, late := enter(time.Hour)
		_, soon := enter(10 * time.Minute)
		_, short := enter(30 * time.Second)
		_, past := enter(-time.Second)
		renewed, renews := enter(5 * time.Minute)
		left, leaves := enter(20 * time.Minute)
		time.Sleep(4*time.Minute + time.Second)
		x.set(renewed, time.Now().Add(time.Hour))
		x.drop(left)
		x.drop(left)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		for name, tt := range map[string]struct {
			l    *listener
			want []string
		}{
			"late":   {late, []string{"59m0s auth:expiring in 60", "1h0m0s error", "1h0m0s closed: token expired"}},
			"soon":   {soon, []string{"9m0s auth:expiring in 60", "10m0s error", "10m0s closed: token expired"}},
			"short":  {short, []string{"15s auth:expiring in 15", "30s error", "30s closed: token expired"}},
			"past":   {past, []string{"0s error", "0s closed: token expired"}},
			"renews": {renews, []string{"4m0s auth:expiring in 60", "1h3m1s auth:expiring in 60", "1h4m1s error", "1h4m1s closed: token expired"}},
			"leaves": {leaves, nil},
		} {
			if d := cmp.Diff(tt.want, tt.l.log); d != "" {
				t.Errorf("%s (-want +got):\n%s", name, d)
			}
		}
		timers := slices.ContainsFunc(all, func(who *identity) bool { return who.timer != nil })
		if n := metrics.Value(x.ended); n != 5 || timers {
			t.Errorf("%d ended, timers left: %t", n, timers)
		}
		_, closed := enter(time.Second)
		x.close()
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(closed.log) > 0 {
			t.Errorf("told after close: %q", closed.log)
		}
	})
}
