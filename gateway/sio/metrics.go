package sio

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/codewar/socketbridge/gateway/limit"
	"github.com/codewar/socketbridge/internal/metrics"
)

// Stats is what a Server says of itself. Drops and Refusals have every reason and limit,
// also with zero.
type Stats struct {
	Websocket uint64 // connections now, by transport
	Polling   uint64
	Drops     map[string]uint64 // connections that the server ended, by reason
	Refusals  map[string]uint64 // handshakes that it refused, by limit
}

// Stats returns the counts at this moment.
func (s *Server) Stats() Stats {
	m := &s.metrics
	return Stats{metrics.Value(m.websocket), metrics.Value(m.polling), m.drops.Counts(), m.refusals.Counts()}
}

// otherReason is the label of a reason that is in no list, which would be a mistake of ours.
const otherReason = "other"

// serverMetrics is what a Server counts.
type serverMetrics struct {
	websocket, polling prometheus.Gauge
	connects, panics   prometheus.Counter
	seconds            prometheus.Histogram          // how long connections lasted
	ends               map[string]prometheus.Counter // by reason
	drops, refusals    *limit.RefusalCounter
	handshakes         *limit.RefusalCounter // refused, by refusalNames; for the log only
}

func newServerMetrics(cfg Config, memory *limit.Memory, log *slog.Logger) serverMetrics {
	f := promauto.With(cfg.Metrics)
	connections := f.NewGaugeVec(prometheus.GaugeOpts{Name: "bridge_gateway_connections", Help: "Connections of this node, by transport."}, []string{"transport"})
	metrics.Gauge(cfg.Metrics, "bridge_gateway_client_memory_bytes", "Bytes that this node holds for its clients, beyond the first 4 KiB of each.", memory.Held)
	return serverMetrics{
		websocket: connections.WithLabelValues(websocketTransport), polling: connections.WithLabelValues(pollingTransport),
		connects: metrics.Counter(cfg.Metrics, "bridge_gateway_connects_total", "Connections that were made."),
		panics:   metrics.Counter(cfg.Metrics, "bridge_gateway_panics_total", "Panics that were caught while serving a socket. Each one is a bug."),
		seconds:  f.NewHistogram(metrics.Histogram("bridge_gateway_connection_seconds", "How long connections lasted that have ended.", 0.1, 2.5, 15)),
		ends: metrics.Counters(cfg.Metrics, "bridge_gateway_disconnects_total", "Connections that have ended, by reason; those of bridge_gateway_drops_total among them.",
			"reason", append(append(reasons(), otherReason), cfg.Reasons...)...),
		drops: limit.NewRefusalCounter(log, metrics.Counters(cfg.Metrics, "bridge_gateway_drops_total", "Connections that this node closed for what the client did or failed to do, by reason.",
			"reason", drops...)),
		refusals:   limit.NewRefusals(cfg.Metrics, log, handshakeLimits...),
		handshakes: limit.NewRefusalCounter(log, metrics.Counters(nil, "handshakes", "", "code", refusalNames...)),
	}
}

func (m *serverMetrics) connections(transport string) prometheus.Gauge {
	if transport == websocketTransport {
		return m.websocket
	}
	return m.polling
}

func (m *serverMetrics) opened(transport string) {
	m.connections(transport).Inc()
	m.connects.Inc()
}

func (m *serverMetrics) moved(from, to string) {
	m.connections(from).Dec()
	m.connections(to).Inc()
}

// countEnd counts the end of a connection. The log has a line for each drop's reason in ten
// seconds, except for a ping timeout, which is ordinary for phones. A goroutine of its own
// writes the line: the caller holds conn.mu, and the log may block.
func (s *Server) countEnd(transport, reason string, from netip.Addr, lasted time.Duration) {
	m := &s.metrics
	m.connections(transport).Dec()
	m.seconds.Observe(lasted.Seconds())
	if n := m.ends[reason]; n != nil {
		n.Inc()
	} else {
		m.ends[otherReason].Inc()
	}
	if times, due := m.drops.Due(reason); due && reason != ReasonPingTimeout {
		s.work.Go(func() {
			s.log.LogAttrs(context.Background(), slog.LevelWarn, "connection dropped",
				slog.String("reason", reason), slog.Int("times", times), slog.Any("address", from))
		})
	}
}
