// Package metrics is what the packages that count have in common. Each registers its own metrics
// with a [prometheus.Registerer]; docs/metrics.md lists all of them.
package metrics

import (
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	dto "github.com/prometheus/client_model/go"
)

// NewRegistry makes the registry of the process, with the metrics of this build, of the process
// and of the Go runtime.
func NewRegistry(version, revision string) *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsScheduler)),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	promauto.With(reg).NewGaugeVec(prometheus.GaugeOpts{Name: "bridge_build_info", Help: "Always 1; the labels say which build this is."},
		[]string{"version", "revision", "goversion"}).WithLabelValues(version, revision, runtime.Version()).Set(1)
	return reg
}

// Histogram describes a histogram of seconds with n classic buckets, each bound so many times the
// one before, and native ones of at most 10 % each.
func Histogram(name, help string, first, factor float64, n int) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Name: name, Help: help,
		Buckets:                         prometheus.ExponentialBuckets(first, factor, n),
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  160,
		NativeHistogramMinResetDuration: time.Hour,
	}
}

// Gauge registers a gauge that reads a value. labels are name and value, name and value. As with
// the other functions, a nil Registerer means that it is not exposed.
func Gauge[N int | int64 | uint64 | float64](reg prometheus.Registerer, name, help string, value func() N, labels ...string) {
	opts := prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: pairs(labels)}
	promauto.With(reg).NewGaugeFunc(opts, func() float64 { return float64(value()) })
}

// CounterFunc registers a counter that reads a value.
func CounterFunc[N uint32 | uint64](reg prometheus.Registerer, name, help string, value func() N, labels ...string) {
	opts := prometheus.CounterOpts{Name: name, Help: help, ConstLabels: pairs(labels)}
	promauto.With(reg).NewCounterFunc(opts, func() float64 { return float64(value()) })
}

// Counter makes a counter.
func Counter(reg prometheus.Registerer, name, help string, labels ...string) prometheus.Counter {
	return promauto.With(reg).NewCounter(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: pairs(labels)})
}

// Counters makes a counter for each value of a label, so that a rate exists before anything was
// counted. Several packages may have counters of the same name and help.
func Counters(reg prometheus.Registerer, name, help, label string, values ...string) map[string]prometheus.Counter {
	out := make(map[string]prometheus.Counter, len(values))
	for _, value := range values {
		out[value] = Counter(reg, name, help, label, value)
	}
	return out
}

func pairs(labels []string) prometheus.Labels {
	out := make(prometheus.Labels)
	for pair := range slices.Chunk(labels, 2) {
		out[pair[0]] = pair[1]
	}
	return out
}

// Truth is 1 for true, and 0 for false.
func Truth(value bool) float64 {
	if value {
		return 1
	}
	return 0
}

// Value reads a counter or a gauge.
func Value(m prometheus.Metric) uint64 {
	out := read(m)
	return uint64(out.GetCounter().GetValue() + out.GetGauge().GetValue())
}

func read(m prometheus.Metric) *dto.Metric {
	out := new(dto.Metric)
	if err := m.Write(out); err != nil {
		panic(fmt.Sprintf("metrics: %v", err)) // only a metric that was made wrong cannot be read
	}
	return out
}
