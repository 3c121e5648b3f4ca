package app

import "github.com/codewar/socketbridge/store"

var (
	awayDesc         = desc("bridge_redis_away", "1 while calls to Redis fail without being tried, because it did not answer the last ones, else 0. Only with Redis.")
	poolDesc         = desc("bridge_redis_pool_connections", "Connections to Redis, idle or in use. Only with Redis.", "state")
	poolTimeoutsDesc = desc("bridge_redis_pool_timeouts_total", "Calls to Redis that found no free connection in time. Only with Redis.")
	wentBackDesc     = desc("bridge_redis_went_back_total", "Times that a Redis master was found in an earlier state than this node had left it in, so that every socket was registered again. Only with Redis.")
	memoryDesc       = desc("bridge_redis_memory_used_bytes", "Memory that Redis uses, of the fullest master, asked every ten seconds; 0 where Redis does not tell. Only with Redis.")
	memoryMaxDesc    = desc("bridge_redis_memory_max_bytes", "Its maxmemory, 0: no limit. Only with Redis.")
)

func (s scrape) redis(stats store.RedisStats) {
	s.truth(awayDesc, stats.Away)
	s.gauge(poolDesc, float64(stats.Idle), "idle")
	s.gauge(poolDesc, float64(stats.Connections-stats.Idle), "used")
	s.counter(poolTimeoutsDesc, stats.PoolTimeouts)
	s.counter(wentBackDesc, stats.WentBack)
	s.gauge(memoryDesc, float64(stats.Memory.Used))
	s.gauge(memoryMaxDesc, float64(stats.Memory.Max))
}
