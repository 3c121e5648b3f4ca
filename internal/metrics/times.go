package metrics

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Times is a histogram of seconds at one moment, by its native buckets.
type Times struct {
	Count   uint64
	Sum     time.Duration
	schema  int32
	buckets map[int]uint64 // by their keys; shortestKey: what took no time
}

const shortestKey = math.MinInt

// ReadTimes reads a histogram, which must have native buckets without a bound on their number.
func ReadTimes(h prometheus.Histogram) Times {
	from := read(h).GetHistogram()
	t := Times{from.GetSampleCount(), time.Duration(from.GetSampleSum() * float64(time.Second)), from.GetSchema(), map[int]uint64{shortestKey: from.GetZeroCount()}}
	key, n, deltas := 0, int64(0), from.GetPositiveDelta()
	for _, span := range from.GetPositiveSpan() {
		key += int(span.GetOffset())
		for range span.GetLength() {
			n += deltas[0]
			t.buckets[key] = uint64(n)
			key, deltas = key+1, deltas[1:]
		}
	}
	return t
}

// Since returns what was observed after an earlier reading of the same histogram.
func (t Times) Since(earlier Times) Times {
	t.buckets = maps.Clone(t.buckets)
	for key, n := range earlier.buckets {
		t.buckets[key] -= n
	}
	t.Count -= earlier.Count
	t.Sum -= earlier.Sum
	return t
}

// Quantile returns a time that the share q of all, 0 to 1, did not exceed; zero when nothing was
// observed. It is too long by one bucket at most, with [Histogram] 9 %.
func (t Times) Quantile(q float64) time.Duration {
	rank := max(uint64(math.Ceil(q*float64(t.Count))), 1)
	var sum uint64
	for _, key := range slices.Sorted(maps.Keys(t.buckets)) {
		if sum += t.buckets[key]; sum >= rank {
			return time.Duration(math.Exp2(math.Ldexp(float64(key), -int(t.schema))) * float64(time.Second))
		}
	}
	return 0
}
