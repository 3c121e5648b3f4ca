package app

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/codewar/socketbridge/bridge"
)

// TestTimes: what is shown of a histogram is what the Prometheus client's own would
// have shown of the same times, native buckets and classic ones.
func TestTimes(t *testing.T) {
	t.Parallel()
	var ours bridge.Histogram
	bounds := []float64{0.0009765625, 0.25, 1, 64} // some of ours
	theirs := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "x", Help: "What ours is held against.", Buckets: bounds, NativeHistogramBucketFactor: 1.1})
	for i := range 2000 {
		d := time.Duration(rand.Int64N(int64(time.Microsecond) << (4 + i%20))) // up to microseconds, up to seconds
		if d = max(d, 10*time.Microsecond); i%100 == 0 {
			d = time.Second / 4 // on a bound
		}
		ours.Observe(d)
		theirs.Observe(d.Seconds())
	}
	got, want := write(t, newTimes(pushDesc, ours.Times(), time.Now())), write(t, theirs)
	if got.GetSampleCount() != want.GetSampleCount() || got.GetSchema() != want.GetSchema() {
		t.Errorf("count %d, schema %d; want %d, %d", got.GetSampleCount(), got.GetSchema(), want.GetSampleCount(), want.GetSchema())
	}
	if d := got.GetSampleSum() - want.GetSampleSum(); d > 1e-6 || d < -1e-6 {
		t.Errorf("sum %v, want %v", got.GetSampleSum(), want.GetSampleSum())
	}
	if d := cmp.Diff(want.GetPositiveDelta(), got.GetPositiveDelta()); d != "" {
		t.Errorf("native buckets (-want +got):\n%s", d)
	}
	counts := make(map[float64]uint64)
	for _, b := range got.GetBucket() {
		counts[b.GetUpperBound()] = b.GetCumulativeCount()
	}
	for _, b := range want.GetBucket() {
		if counts[b.GetUpperBound()] != b.GetCumulativeCount() {
			t.Errorf("up to %v s: %d, want %d", b.GetUpperBound(), counts[b.GetUpperBound()], b.GetCumulativeCount())
		}
	}
}

func write(t *testing.T, m prometheus.Metric) *dto.Histogram {
	t.Helper()
	var out dto.Metric
	if err := m.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.GetHistogram()
}
