package subscriber

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/codewar/socketbridge/internal/metrics"
)

// Measure registers what the client has met and what it last saw of NATS. A scrape asks nothing
// and never waits.
func (c *Client) Measure(reg prometheus.Registerer) {
	metrics.Gauge(reg, "bridge_nats_connected", "1 while this node is connected to NATS, else 0.", func() float64 { return metrics.Truth(c.conn.err() == nil) })
	metrics.CounterFunc(reg, "bridge_nats_reconnects_total", "Times that NATS was there again after it had been away.", c.reconnects.Load)
	metrics.CounterFunc(reg, "bridge_nats_errors_total", "Faults that the NATS client found by itself, mostly a subscription that was too slow.", c.faults.Load)
	metrics.CounterFunc(reg, "bridge_link_messages_refused_total", "Messages on this node's own NATS subject that no bridge of this version sends, and that were not delivered.", c.refusedLinks)
	metrics.Gauge(reg, "bridge_nats_outbox_messages", "Messages that wait to be written to NATS.", func() int { return len(c.outbox.queue) })
	// What the streams are called in NATS is configuration; their labels are not.
	for stream, state := range map[string]func() streamState{"messages": c.streams.state, "dead_letters": c.streams.deadState} {
		metrics.Gauge(reg, "bridge_stream_messages", "Messages in the stream of messages, and in that of dead letters, as seen last.", func() uint64 { return state().messages }, "stream", stream)
		metrics.Gauge(reg, "bridge_stream_bytes", "Bytes in them.", func() uint64 { return state().bytes }, "stream", stream)
	}
}

// refusedLinks counts messages on this node's own subject that no bridge of this version sends.
func (c *Client) refusedLinks() uint64 {
	if s := c.receiver.Load(); s != nil {
		return s.refused.Load()
	}
	return 0
}

func (s *streams) deadState() streamState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dead
}

// intakeMetrics counts what an intake has met.
type intakeMetrics struct{ terms, lost, stops prometheus.Counter }

func newIntakeMetrics(reg prometheus.Registerer, i *Intake) intakeMetrics {
	metrics.Gauge(reg, "bridge_leader", "1 on the node that reads the stream, 0 on the others.", func() float64 { return metrics.Truth(i.Leading()) })
	metrics.Gauge(reg, "bridge_intake_lag", "Messages in the stream that the leader has not handled yet; 0 on other nodes.", func() uint64 {
		if !i.Leading() {
			return 0
		}
		lag := i.Lag()
		return lag.Last - lag.Read
	})
	return intakeMetrics{
		terms: metrics.Counter(reg, "bridge_leader_terms_total", "Times that this node became the leader."),
		lost:  metrics.Counter(reg, "bridge_intake_lost_total", "Messages that had left the stream before the leader came to read them."),
		stops: metrics.Counter(reg, "bridge_intake_interruptions_total", "Times that reading the stream was interrupted by a fault of NATS."),
	}
}
