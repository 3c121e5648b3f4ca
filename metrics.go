package main

import (
	"errors"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway"
	"github.com/codewar/socketbridge/subscriber"
)

// metrics is what /metrics shows. Names are promised: see the golden test.
type metrics struct {
	registry *prometheus.Registry
	store    *prometheus.HistogramVec
	ask      *prometheus.HistogramVec
	canary   prometheus.Histogram
}

// result is the label of what was tried.
const (
	resultOK    = "ok"
	resultError = "error"
)

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		store: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:                        "bridge_store_seconds",
			Help:                        "Time of one call to the store, by operation and result.",
			Buckets:                     prometheus.ExponentialBuckets(0.0001, 2.5, 10),
			NativeHistogramBucketFactor: 1.1,
		}, []string{"op", "result"}),
		ask: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:                        "bridge_payload_seconds",
			Help:                        "Time from putting a /sendPayload message into the stream to its receipt, by result.",
			Buckets:                     prometheus.ExponentialBuckets(0.0001, 2.5, 12),
			NativeHistogramBucketFactor: 1.1,
		}, []string{"result"}),
		canary: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:                        "bridge_canary_seconds",
			Help:                        "Time of a canary from this node through NATS, leader and store back to this node.",
			Buckets:                     prometheus.ExponentialBuckets(0.0005, 2.5, 12),
			NativeHistogramBucketFactor: 1.1,
		}),
	}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "bridge_build_info", Help: "Always 1; the labels say which build this is."}, []string{"version", "revision", "goversion"})
	build.WithLabelValues(version, revision(), runtime.Version()).Set(1)
	m.ask.WithLabelValues(resultOK)
	m.ask.WithLabelValues(resultError)
	m.registry.MustRegister(m.store, m.ask, build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func result(err error) string {
	if err != nil {
		return resultError
	}
	return resultOK
}

func (m *metrics) observeStore(op string, took time.Duration, err error) {
	if errors.Is(err, bridge.ErrNotLeader) || errors.Is(err, bridge.ErrNoSession) {
		err = nil // an answer, not a failure
	}
	m.store.WithLabelValues(op, result(err)).Observe(took.Seconds())
}

func (m *metrics) observeAsk(took time.Duration, err error) {
	m.ask.WithLabelValues(result(err)).Observe(took.Seconds())
}

// watchCertificate shows when the certificate of http.tls expires.
func (m *metrics) watchCertificate(cert *gateway.Certificate) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "bridge_http_certificate_expiry_timestamp_seconds",
		Help: "When the certificate in use expires, in Unix time. Only with http.tls.",
	}, func() float64 { return float64(cert.NotAfter().Unix()) }))
}

// watch shows the counters that the parts keep themselves.
func (m *metrics) watch(hub *gateway.Hub, srv *gateway.Server, router *bridge.Router, intake *subscriber.Intake) {
	m.registry.MustRegister(&collector{hub, srv, router, intake})
}
