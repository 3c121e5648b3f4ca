package limit

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// maxKeys bounds a table of rates to some 20 MB.
const maxKeys = 100_000

// Rates limits how many events each key has in a second, and at once after a pause. The keys
// share no lock. Safe for concurrent use.
type Rates[K comparable] struct {
	perSecond float64
	burst     int
	most      int // keys

	keys  atomic.Int64
	table sync.Map // of K to *rate.Limiter
}

// NewRates returns a table without keys. perSecond 0 is no limit.
func NewRates[K comparable](perSecond, burst int) *Rates[K] {
	return &Rates[K]{perSecond: float64(perSecond), burst: max(burst, perSecond), most: maxKeys}
}

// Allow counts one event and reports whether the limit allows it. If not, wait is the time
// until the next one is allowed.
func (r *Rates[K]) Allow(key K, now time.Time) (wait time.Duration, ok bool) {
	return r.AllowN(key, 1, now)
}

// AllowN does the same for n events at once. More than the burst count as the burst.
func (r *Rates[K]) AllowN(key K, n int, now time.Time) (wait time.Duration, ok bool) {
	if r.perSecond <= 0 {
		return 0, true
	}
	n = min(n, r.burst)
	l := r.of(key, now)
	if l.AllowN(now, n) {
		return 0, true
	}
	return r.until(l, n, now), false
}

// Charge counts n events that have happened. More than are allowed now delay later ones.
func (r *Rates[K]) Charge(key K, n int, now time.Time) {
	if r.perSecond > 0 {
		r.of(key, now).ReserveN(now, min(n, r.burst))
	}
}

// Spent reports whether the key is allowed no event now, and counts nothing. If so, wait is
// the time until the next one is allowed.
func (r *Rates[K]) Spent(key K, now time.Time) (wait time.Duration, spent bool) {
	l, ok := r.table.Load(key)
	if !ok || l.(*rate.Limiter).TokensAt(now) >= 1 {
		return 0, false
	}
	return r.until(l.(*rate.Limiter), 1, now), true
}

// until returns the time until n events are allowed.
func (r *Rates[K]) until(l *rate.Limiter, n int, now time.Time) time.Duration {
	return time.Duration((float64(n) - l.TokensAt(now)) / r.perSecond * float64(time.Second))
}

func (r *Rates[K]) of(key K, now time.Time) *rate.Limiter {
	if l, ok := r.table.Load(key); ok {
		return l.(*rate.Limiter)
	}
	l, loaded := r.table.LoadOrStore(key, rate.NewLimiter(rate.Limit(r.perSecond), r.burst))
	if !loaded && r.keys.Add(1) > int64(r.most) {
		r.evict(now)
	}
	return l.(*rate.Limiter)
}

// evict removes one key from a full table, if possible one with its whole burst. It looks at
// a few keys only: a walk through the table for each new key would be an attack's gain.
func (r *Rates[K]) evict(now time.Time) {
	const few = 8
	looked, victim := 0, any(nil)
	r.table.Range(func(key, l any) bool {
		looked++
		if victim == nil || l.(*rate.Limiter).TokensAt(now) >= float64(r.burst) {
			victim = key
		}
		return looked < few
	})
	if _, was := r.table.LoadAndDelete(victim); was {
		r.keys.Add(-1)
	}
}
