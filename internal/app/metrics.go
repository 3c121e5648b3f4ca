package app

import (
	"errors"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway"
	"github.com/codewar/socketbridge/gateway/hub"
	"github.com/codewar/socketbridge/gateway/sio"
	"github.com/codewar/socketbridge/internal/buildinfo"
	"github.com/codewar/socketbridge/store"
)

// metrics is what /metrics shows. Names are promised: see the golden test, and
// docs/metrics.md for what each means. What a part counts itself is read by
// [collector]; here is what is observed as it happens, and none of it is once a message.
type metrics struct {
	registry    *prometheus.Registry
	store       map[string]prometheus.Observer // by operation; never changed after newMetrics, as the others
	storeErrors map[string]prometheus.Counter
	ask         map[string]prometheus.Observer // by result
	canary      prometheus.Histogram
	lasted      prometheus.Observer
	ended       map[string]prometheus.Counter // by reason
}

// result is the label of what was tried.
const (
	resultOK    = "ok"
	resultError = "error"
)

// other stands for a label value that is not in its list, which would be a mistake of ours.
const other = "other"

// histogram makes one with classic buckets that grow by half an order of magnitude, and
// native ones of at most 10 % each.
func histogram(name, help string, first float64, n int) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Name: name, Help: help,
		Buckets:                         prometheus.ExponentialBuckets(first, 2.5, n),
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  160,
		NativeHistogramMinResetDuration: time.Hour,
	}
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		store:    make(map[string]prometheus.Observer), storeErrors: make(map[string]prometheus.Counter),
		ask: make(map[string]prometheus.Observer), ended: make(map[string]prometheus.Counter),
		canary: prometheus.NewHistogram(histogram("bridge_canary_seconds", "Time of a canary from this node through NATS, leader and store back to this node.", 0.0005, 12)),
	}
	calls := prometheus.NewHistogramVec(histogram("bridge_store_seconds", "Time of one call to the store, by operation, failed ones too.", 0.0001, 10), []string{"op"})
	failed := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "bridge_store_errors_total", Help: "Calls to the store that failed, by operation."}, []string{"op"})
	for _, op := range append(store.Ops(), other) {
		m.store[op], m.storeErrors[op] = calls.WithLabelValues(op), failed.WithLabelValues(op)
	}
	asks := prometheus.NewHistogramVec(histogram("bridge_payload_seconds", "Time from putting a /sendPayload message into the stream to its receipt, by result.", 0.0001, 12), []string{"result"})
	for _, r := range []string{resultOK, resultError} {
		m.ask[r] = asks.WithLabelValues(r)
	}
	lasted := prometheus.NewHistogram(histogram("bridge_gateway_connection_seconds", "How long connections lasted that have ended.", 0.1, 15))
	m.lasted = lasted
	ended := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "bridge_gateway_disconnects_total", Help: "Connections that have ended, by reason; those of bridge_gateway_drops_total among them."}, []string{"reason"})
	for _, reason := range append(sio.Reasons(), hub.ReasonExpired, other) {
		m.ended[reason] = ended.WithLabelValues(reason)
	}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "bridge_build_info", Help: "Always 1; the labels say which build this is."}, []string{"version", "revision", "goversion"})
	build.WithLabelValues(buildinfo.Version, buildinfo.Revision(), runtime.Version()).Set(1)
	m.registry.MustRegister(calls, failed, asks, lasted, ended, build,
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsScheduler)),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) observeStore(op string, took time.Duration, err error) {
	if errors.Is(err, bridge.ErrNotLeader) || errors.Is(err, bridge.ErrNoSession) || errors.Is(err, bridge.ErrNoRecord) {
		err = nil // an answer, not a failure
	}
	if m.store[op] == nil {
		op = other
	}
	m.store[op].Observe(took.Seconds())
	if err != nil {
		m.storeErrors[op].Inc()
	}
}

func (m *metrics) observeAsk(took time.Duration, err error) {
	result := resultOK
	if err != nil {
		result = resultError
	}
	m.ask[result].Observe(took.Seconds())
}

// observeEnd is told of each connection that has ended.
func (m *metrics) observeEnd(reason string, lasted time.Duration) {
	m.lasted.Observe(lasted.Seconds())
	if m.ended[reason] == nil {
		reason = other
	}
	m.ended[reason].Inc()
}

// watchCertificate shows when the certificate of http.tls expires.
func (m *metrics) watchCertificate(cert *gateway.Certificate) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "bridge_http_certificate_expiry_timestamp_seconds",
		Help: "When the certificate in use expires, in Unix time. Only with http.tls.",
	}, func() float64 { return float64(cert.NotAfter().Unix()) }))
}

// watch shows the counters that the parts keep themselves.
func (m *metrics) watch(c *collector) {
	c.began = time.Now()
	m.registry.MustRegister(c)
}
