package bridge

import (
	"math"
	"sync/atomic"
	"time"
)

// HistogramSchema is how fine a [Histogram] is, in the terms of Prometheus' native
// histograms: 2^3 buckets for each doubling, so that what is read out of one is
// at most 9 % above the truth.
const HistogramSchema = 3

const (
	perDoubling = 1 << HistogramSchema
	shortestKey = -17 * perDoubling // 2^-17 s, 8 µs: all that is shorter counts as that
	longestKey  = 8 * perDoubling   // 2^8 s: all that is longer counts as that
)

// fractions are the upper bounds of the buckets of one doubling, from 1/2 on.
var fractions = func() (f [perDoubling]float64) {
	for i := range f {
		f[i] = math.Exp2(float64(i)/perDoubling - 1)
	}
	return f
}()

// Histogram counts how long something took, from 8 microseconds to 4 minutes. To
// count is a few nanoseconds, no lock and no memory. Its zero value is empty.
// Safe for concurrent use.
type Histogram struct {
	buckets [longestKey - shortestKey + 1]atomic.Uint64
	nanos   atomic.Int64
}

// Observe counts one. Less than nothing, of clocks that do not agree, is nothing.
func (h *Histogram) Observe(d time.Duration) {
	d = max(d, 0)
	h.buckets[place(d)].Add(1)
	h.nanos.Add(int64(d))
}

// place is the index of the first bucket whose upper bound is not below d.
func place(d time.Duration) int {
	fraction, exponent := math.Frexp(d.Seconds())
	i := 0
	for i < perDoubling && fractions[i] < fraction {
		i++
	}
	key := (exponent-1)*perDoubling + i
	if d == 0 {
		key = shortestKey
	}
	return min(max(key, shortestKey), longestKey) - shortestKey
}

// Times is a [Histogram] at one moment.
type Times struct {
	Count   uint64
	Sum     time.Duration
	buckets [longestKey - shortestKey + 1]uint64
}

// Times reads the histogram. What is counted meanwhile may be in one part of the
// answer and not yet in another.
func (h *Histogram) Times() (t Times) {
	t.Sum = time.Duration(h.nanos.Load())
	for i := range h.buckets {
		t.buckets[i] = h.buckets[i].Load()
		t.Count += t.buckets[i]
	}
	return t
}

// Since returns what was counted after an earlier reading of the same histogram.
func (t Times) Since(earlier Times) Times {
	t.Count -= earlier.Count
	t.Sum -= earlier.Sum
	for i := range t.buckets {
		t.buckets[i] -= earlier.buckets[i]
	}
	return t
}

// Quantile returns a time that the share q of all, 0 to 1, did not exceed; zero
// when nothing was counted. It is up to 9 % too long.
func (t Times) Quantile(q float64) time.Duration {
	rank := max(uint64(math.Ceil(q*float64(t.Count))), 1)
	var sum uint64
	for i, n := range t.buckets {
		if sum += n; sum >= rank {
			return time.Duration(bound(i+shortestKey) * float64(time.Second))
		}
	}
	return 0
}

// bound is the upper bound of a bucket, in seconds.
func bound(key int) float64 { return math.Exp2(float64(key) / perDoubling) }

// Buckets calls each with every bucket that is not empty, shortest first, by its
// key in a Prometheus native histogram of [HistogramSchema]. Keys of a doubling
// are multiples of eight: 0 is up to one second.
func (t Times) Buckets(each func(key int, n uint64)) {
	for i, n := range t.buckets {
		if n > 0 {
			each(i+shortestKey, n)
		}
	}
}
