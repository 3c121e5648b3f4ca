package app

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/codewar/socketbridge/bridge"
)

// Classic buckets of a [bridge.Histogram]: one for each doubling, from 2^-13 s
// (122 µs) to 2^6 s (64 s).
const (
	firstDoubling = -13
	lastDoubling  = 6
)

// times shows a [bridge.Histogram] both ways: native, for servers that ask for it,
// and with classic buckets.
type times struct {
	prometheus.Metric // native
	classic           []*dto.Bucket
}

func newTimes(d *prometheus.Desc, t bridge.Times, since time.Time) prometheus.Metric {
	native := make(map[int]int64)
	classic := make([]*dto.Bucket, lastDoubling-firstDoubling+1)
	for i := range classic {
		classic[i] = &dto.Bucket{UpperBound: new(math.Exp2(float64(firstDoubling + i))), CumulativeCount: new(uint64(0))}
	}
	t.Buckets(func(key int, n uint64) {
		native[key] = int64(n)
		for _, b := range classic {
			if math.Exp2(float64(key)/(1<<bridge.HistogramSchema)) <= b.GetUpperBound() {
				*b.CumulativeCount += n
			}
		}
	})
	m, err := prometheus.NewConstNativeHistogram(d, t.Count, t.Sum.Seconds(), native, nil, 0, bridge.HistogramSchema, prometheus.DefNativeHistogramZeroThreshold, since)
	if err != nil {
		return prometheus.NewInvalidMetric(d, err)
	}
	return &times{m, classic}
}

// Write implements prometheus.Metric.
func (t *times) Write(out *dto.Metric) error {
	err := t.Metric.Write(out)
	if err == nil {
		out.Histogram.Bucket = t.classic
	}
	return err
}
