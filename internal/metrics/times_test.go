package metrics

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestTimes(t *testing.T) {
	t.Parallel()
	h := prometheus.NewHistogram(Histogram("x", "As packages make them.", 0.001, 2, 10))
	if got := ReadTimes(h).Quantile(0.5); got != 0 {
		t.Errorf("median of nothing: %v", got)
	}
	for ms := range 1000 {
		h.Observe(float64(ms+1) / 1000)
	}
	times := ReadTimes(h)
	if want := 500500 * time.Millisecond; times.Count != 1000 || (times.Sum-want).Abs() > time.Microsecond {
		t.Errorf("count %d, sum %v; want 1000, %v", times.Count, times.Sum, want)
	}
	for q, want := range map[float64]time.Duration{0: time.Millisecond, 0.5: 500 * time.Millisecond, 0.99: 990 * time.Millisecond, 1: time.Second} {
		if got := times.Quantile(q); got < want || got > want*110/100 {
			t.Errorf("quantile %v is %v, want %v or at most 10 %% more", q, got, want)
		}
	}
	h.Observe(4)
	if since := ReadTimes(h).Since(times); since.Count != 1 || since.Sum.Round(time.Millisecond) != 4*time.Second || since.Quantile(0.5) != 4*time.Second {
		t.Errorf("since: %d, %v, median %v", since.Count, since.Sum, since.Quantile(0.5))
	}
	before := ReadTimes(h)
	h.Observe(0)
	if since := ReadTimes(h).Since(before); since.Count != 1 || since.Quantile(1) != 0 {
		t.Errorf("since: %d, at most %v, want one that took no time", since.Count, since.Quantile(1))
	}
}
