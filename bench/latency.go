package main

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// latencies is a histogram of durations, exact to a thousandth, from 1 µs to a minute.
type latencies struct{ h *hdrhistogram.Histogram }

const maxLatency = time.Minute

func newLatencies() latencies {
	return latencies{hdrhistogram.New(int64(time.Microsecond), int64(maxLatency), 3)}
}

// record notes a duration; what is longer than a minute counts as a minute.
func (l latencies) record(d time.Duration) {
	_ = l.h.RecordValue(int64(min(max(d, 0), maxLatency))) // it is in range
}

// merge adds what o has recorded.
func (l latencies) merge(o latencies) { l.h.Merge(o.h) }

func (l latencies) at(percentile float64) time.Duration {
	return time.Duration(l.h.ValueAtPercentile(percentile))
}

func (l latencies) max() time.Duration { return time.Duration(l.h.Max()) }
