package bridge_test

import (
	"math"
	"testing"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

func TestHistogram(t *testing.T) {
	t.Parallel()
	var h bridge.Histogram
	if got := h.Times().Quantile(0.5); got != 0 {
		t.Errorf("median of nothing: %v", got)
	}
	for ms := range 1000 {
		h.Observe(time.Duration(ms+1) * time.Millisecond)
	}
	times := h.Times()
	if want := 500500 * time.Millisecond; times.Count != 1000 || times.Sum != want {
		t.Errorf("count %d, sum %v; want 1000, %v", times.Count, times.Sum, want)
	}
	for q, want := range map[float64]time.Duration{0: time.Millisecond, 0.5: 500 * time.Millisecond, 0.99: 990 * time.Millisecond, 1: time.Second} {
		if got := times.Quantile(q); got < want || got > want*110/100 {
			t.Errorf("quantile %v is %v, want %v or at most 10 %% more", q, got, want)
		}
	}
	h.Observe(4 * time.Second)
	if since := h.Times().Since(times); since.Count != 1 || since.Sum != 4*time.Second || since.Quantile(0.5) != 4*time.Second {
		t.Errorf("since: %d, %v, median %v", since.Count, since.Sum, since.Quantile(0.5))
	}
}

// TestHistogramBuckets: each time is in the bucket that Prometheus would put it in.
func TestHistogramBuckets(t *testing.T) {
	t.Parallel()
	for _, d := range []time.Duration{-time.Second, 0, 1, time.Microsecond, 8 * time.Microsecond, 250 * time.Millisecond, 250*time.Millisecond + 1, time.Second, 3 * time.Second, time.Minute, time.Hour} {
		var h bridge.Histogram
		h.Observe(d)
		h.Times().Buckets(func(key int, n uint64) {
			above, below := math.Exp2(float64(key)/8), math.Exp2(float64(key-1)/8)
			clipped := d < 8*time.Microsecond && above < 8e-6 || d > 4*time.Minute && below > 200
			if s := d.Seconds(); n != 1 || !clipped && (s > above || s <= below) {
				t.Errorf("%v: %d in (%v, %v]", d, n, below, above)
			}
		})
		if h.Times().Count != 1 {
			t.Errorf("%v is counted %d times", d, h.Times().Count)
		}
	}
}

func TestHistogramDoesNotAllocate(t *testing.T) {
	var h bridge.Histogram
	if n := testing.AllocsPerRun(100, func() { h.Observe(3 * time.Millisecond) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkHistogram(b *testing.B) {
	var h bridge.Histogram
	b.ReportAllocs()
	for b.Loop() {
		h.Observe(3 * time.Millisecond)
	}
}
