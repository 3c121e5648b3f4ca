package hub

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/sio"
	"github.com/codewar/socketbridge/internal/metrics"
)

// hubMetrics is what a hub counts.
type hubMetrics struct {
	took, seen prometheus.Counter // messages given to a socket, or left to the replay it was in; those it had already
	latency    prometheus.Histogram
	gaps       prometheus.Counter
	rejoins    prometheus.Counter
	renewed    prometheus.Counter
}

func newHubMetrics(reg prometheus.Registerer, h *Hub) hubMetrics {
	metrics.Gauge(reg, "bridge_gateway_sockets", "Sockets of this node that are mapped to a user.", h.sockets.Load)
	metrics.Gauge(reg, "bridge_gateway_users", "Users with a socket on this node.", h.users.Load)
	metrics.Gauge(reg, "bridge_gateway_binding", "Sockets that wait for the store to register them.", h.binding.Load)
	pushes := metrics.Counters(reg, "bridge_pushes_total", "Messages given to a socket of this node (took), or dropped because it had them (seen).", "result", "took", "seen")
	latency := metrics.Histogram("bridge_push_seconds", "Time from the stream having taken a message to its being handed to its user's sockets on this node, once for each message and node; replays are left out.", 1./(1<<13), 2, 20)
	latency.NativeHistogramMaxBucketNumber = 0 // it is never reset: see [Hub.Latency]
	return hubMetrics{
		took: pushes["took"], seen: pushes["seen"], latency: promauto.With(reg).NewHistogram(latency),
		gaps:    metrics.Counter(reg, "bridge_gateway_history_gaps_total", "Sockets that were told HISTORY_GAP: what their page had missed was no longer kept."),
		rejoins: metrics.Counter(reg, "bridge_gateway_rejoins_total", "Times that every socket of the node was registered in the store; once at the start, else because the node's lease was lost."),
		renewed: metrics.Counter(reg, "bridge_gateway_registrations_renewed_total", "Registrations of sockets of this node that the store no longer had, and that were made again."),
	}
}

// count counts what was done with an envelope.
func (m *hubMetrics) count(e *bridge.Envelope, c bridge.Count) {
	if c.Seen > 0 {
		m.seen.Add(float64(c.Seen))
	}
	if c.Took == 0 {
		return
	}
	m.took.Add(float64(c.Took))
	if !e.Stored.IsZero() {
		m.latency.Observe(max(time.Since(e.Stored), 0).Seconds()) // clocks do not always agree
	}
}

// Latency is the time from the stream having taken a message to its being handed
// to the user's sockets here, once for each message and node; replays do not count.
// It spans the clocks of two machines.
func (h *Hub) Latency() metrics.Times { return metrics.ReadTimes(h.metrics.latency) }

// Pushes counts what [Hub.Push] has done since the start: messages given to a socket, or left to
// the replay it was in, and those that a socket had already.
func (h *Hub) Pushes() (took, seen uint64) {
	return metrics.Value(h.metrics.took), metrics.Value(h.metrics.seen)
}

// handlerMetrics counts what clients do.
type handlerMetrics struct {
	fresh, resumed, unknown prometheus.Counter // joins
	expired                 prometheus.Counter // sockets closed
}

func newHandlerMetrics(reg prometheus.Registerer) handlerMetrics {
	joins := metrics.Counters(reg, "bridge_gateway_joins_total", "Pages that joined: new, resumed (back, and recognised) or unknown (back, and not recognised).", "kind", "new", "resumed", "unknown")
	return handlerMetrics{
		fresh: joins["new"], resumed: joins["resumed"], unknown: joins["unknown"],
		expired: metrics.Counter(reg, "bridge_auth_expired_total", "Sockets closed because their token had expired."),
	}
}

// join counts a client that connected: without a session, with one that was restored, or with one
// that was not.
func (m *handlerMetrics) join(presented sio.Auth, recovered bool) {
	switch {
	case recovered:
		m.resumed.Inc()
	case presented.PID != "":
		m.unknown.Inc()
	default:
		m.fresh.Inc()
	}
}
