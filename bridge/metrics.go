package bridge

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/codewar/socketbridge/internal/metrics"
)

// routerMetrics counts what a router has met while this node was leader.
type routerMetrics struct {
	hit, miss, failed      prometheus.Counter // look-ups
	answered, gone, unsure prometheus.Counter // forwards
	deadLost               prometheus.Counter
}

func newRouterMetrics(reg prometheus.Registerer, l *Ledger) *routerMetrics {
	metrics.CounterFunc(reg, "bridge_intake_messages_total", "Messages that this node read from the stream as leader.", l.received.Load)
	for _, o := range Outcomes() {
		metrics.CounterFunc(reg, "bridge_intake_outcomes_total", "What became of them. The sum and what is in flight are the messages read.", l.count(o).Load, "outcome", string(o))
	}
	metrics.CounterFunc(reg, "bridge_ledger_breaches_total", "Times that the ledger did not balance. Each one is a bug.", l.breaches.Load)
	metrics.Gauge(reg, "bridge_intake_in_flight", "Messages read that have no outcome yet.", func() int64 { return l.Balance().InFlight() })
	lookups := metrics.Counters(reg, "bridge_presence_lookups_total", "Look-ups of a message's user by the leader: with a live socket somewhere (hit), without (miss).", "result", "hit", "miss", "failed")
	forwards := metrics.Counters(reg, "bridge_forwards_total", "Batches that the leader handed to other nodes: answered, gone (certainly not received) or unsure (no answer in time).", "result", "answered", "gone", "unsure")
	return &routerMetrics{
		hit: lookups["hit"], miss: lookups["miss"], failed: lookups["failed"],
		answered: forwards["answered"], gone: forwards["gone"], unsure: forwards["unsure"],
		deadLost: metrics.Counter(reg, "bridge_dead_letters_lost_total", "Messages that broke the rules and have no dead letter, because NATS refused it."),
	}
}

// located counts the look-ups of a batch.
func (m *routerMetrics) located(found []Located) {
	var hits, failed int
	for i := range found {
		switch {
		case found[i].Err != nil:
			failed++
		case len(found[i].Sockets) > 0:
			hits++
		}
	}
	m.hit.Add(float64(hits))
	m.failed.Add(float64(failed))
	m.miss.Add(float64(len(found) - hits - failed))
}

// forwarded counts a forward that has ended.
func (m *routerMetrics) forwarded(err error) {
	switch {
	case err == nil:
		m.answered.Inc()
	case errors.Is(err, ErrNodeGone):
		m.gone.Inc()
	default:
		m.unsure.Inc()
	}
}

// measure registers what the index keeps and has dropped.
func (x *Index) measure(reg prometheus.Registerer) {
	metrics.Gauge(reg, "bridge_history_messages", "Messages in the histories that this node knows: as leader, or standing by.", func() int { return x.Stats().Messages })
	metrics.Gauge(reg, "bridge_history_bytes", "Bytes that they take in this process.", func() int { return x.Stats().Bytes })
	metrics.CounterFunc(reg, "bridge_history_evicted_total", "Messages that left the histories before history.ttl, because of history.max_memory.", func() uint64 { return x.Stats().Evicted })
	metrics.CounterFunc(reg, "bridge_history_unloaded_total", "Payloads that left memory because of history.max_memory. They are read from the stream when needed.", func() uint64 { return x.Stats().Unloaded })
}
