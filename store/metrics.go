package store

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/internal/metrics"
)

// ops are the operations that are measured, and otherOp one that is missing there.
var ops = []string{
	"beat", "delivered", "drop_session", "leave", "locate", "nodes", "ping", "reap", "register", "renew",
	"save_sessions", "serving", "session", "taken", "unregister", "went_back",
}

const otherOp = "other"

// opMetrics measures the calls to a store. Nil measures nothing.
type opMetrics struct {
	seconds map[string]prometheus.Observer // by operation; never changed after newOpMetrics, as failed
	failed  map[string]prometheus.Counter
}

func newOpMetrics(reg prometheus.Registerer) *opMetrics {
	seconds := promauto.With(reg).NewHistogramVec(metrics.Histogram("bridge_store_seconds", "Time of one call to the store, by operation, failed ones too.", 0.0001, 2.5, 10), []string{"op"})
	m := &opMetrics{
		make(map[string]prometheus.Observer),
		metrics.Counters(reg, "bridge_store_errors_total", "Calls to the store that failed, by operation.", "op", append(ops, otherOp)...),
	}
	for op := range m.failed {
		m.seconds[op] = seconds.WithLabelValues(op)
	}
	return m
}

func (m *opMetrics) observe(op string, took time.Duration, err error) {
	if m == nil {
		return
	}
	if m.seconds[op] == nil {
		op = otherOp
	}
	m.seconds[op].Observe(took.Seconds())
	answer := errors.Is(err, bridge.ErrNotLeader) || errors.Is(err, bridge.ErrNoSession) || errors.Is(err, bridge.ErrNoRecord)
	if err != nil && !answer {
		m.failed[op].Inc()
	}
}

// Measure registers the store's metrics. It comes before the first operation.
func (m *Memory) Measure(reg prometheus.Registerer) { m.metrics = newOpMetrics(reg) }

// Measure registers the store's metrics. It comes before the first operation.
func (r *Redis) Measure(reg prometheus.Registerer) {
	r.metrics = newOpMetrics(reg)
	const only = " Only with Redis."
	metrics.Gauge(reg, "bridge_redis_away", "1 while calls to Redis fail without being tried, because it did not answer the last ones, else 0."+only,
		func() float64 { return metrics.Truth(r.breakers.away.Load() > 0) })
	for state, count := range map[string]func(*redis.PoolStats) uint32{
		"idle": func(p *redis.PoolStats) uint32 { return p.IdleConns },
		"used": func(p *redis.PoolStats) uint32 { return p.TotalConns - p.IdleConns },
	} {
		metrics.Gauge(reg, "bridge_redis_pool_connections", "Connections to Redis, idle or in use."+only, func() int { return int(count(r.client.PoolStats())) }, "state", state)
	}
	metrics.CounterFunc(reg, "bridge_redis_pool_timeouts_total", "Calls to Redis that found no free connection in time."+only, func() uint32 { return r.client.PoolStats().Timeouts })
	metrics.CounterFunc(reg, "bridge_redis_went_back_total", "Times that a Redis master was found in an earlier state than this node had left it in, so that every socket was registered again."+only, r.canaries.wentBack.Load)
	metrics.Gauge(reg, "bridge_redis_memory_used_bytes", "Memory that Redis uses, of the fullest master, asked every ten seconds; 0 where Redis does not tell."+only, func() uint64 { return r.memory.Load().used })
	metrics.Gauge(reg, "bridge_redis_memory_max_bytes", "Its maxmemory, 0: no limit."+only, func() uint64 { return r.memory.Load().max })
}
