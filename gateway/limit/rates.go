package limit

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// maxKeys bounds a table of rates: some 20 MB, when somebody has that many addresses.
const maxKeys = 100_000

// Rates lets each key do so many things a second, and so many at once after a
// pause. There is no lock that all keys share.
type Rates[K comparable] struct {
	perSecond float64
	burst     int
	most      int // keys

	keys  atomic.Int64
	table sync.Map // of K to *rate.Limiter
}

// NewRates makes a table without keys. perSecond 0 is no limit.
func NewRates[K comparable](perSecond, burst int) *Rates[K] {
	return &Rates[K]{perSecond: float64(perSecond), burst: max(burst, perSecond), most: maxKeys}
}

// Allow counts one and reports whether the key may do it. If not, wait is when
// it may try again.
func (r *Rates[K]) Allow(key K, now time.Time) (wait time.Duration, ok bool) {
	return r.AllowN(key, 1, now)
}

// AllowN does the same with n at once, of which more than the burst count as the burst.
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

// Charge counts n that the key has done already. What is more than it may do at this
// moment keeps it waiting later.
func (r *Rates[K]) Charge(key K, n int, now time.Time) {
	if r.perSecond > 0 {
		r.of(key, now).ReserveN(now, min(n, r.burst))
	}
}

// Spent reports whether the key may do nothing at this moment, and counts nothing.
// If so, wait is when it may try again.
func (r *Rates[K]) Spent(key K, now time.Time) (wait time.Duration, spent bool) {
	if r.perSecond <= 0 {
		return 0, false
	}
	l, ok := r.table.Load(key)
	if !ok || l.(*rate.Limiter).TokensAt(now) >= 1 {
		return 0, false
	}
	return r.until(l.(*rate.Limiter), 1, now), true
}

// until is when the next n are allowed.
func (r *Rates[K]) until(l *rate.Limiter, n int, now time.Time) time.Duration {
	return time.Duration((float64(n) - l.TokensAt(now)) / r.perSecond * float64(time.Second))
}

func (r *Rates[K]) of(key K, now time.Time) *rate.Limiter {
	if l, ok := r.table.Load(key); ok {
		return l.(*rate.Limiter)
	}
	l, loaded := r.table.LoadOrStore(key, rate.NewLimiter(rate.Limit(r.perSecond), r.burst))
	if !loaded && r.keys.Add(1) > int64(r.most) {
		r.forget(now)
	}
	return l.(*rate.Limiter)
}

// forget makes room in a full table. It looks at a few keys only, so that whoever
// fills the table does not make each new one cost a walk through it; of a key
// that has its whole burst nothing is lost.
func (r *Rates[K]) forget(now time.Time) {
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
