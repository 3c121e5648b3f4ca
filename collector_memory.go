package main

import "github.com/codewar/socketbridge/store"

var (
	historyBytesDesc   = desc("bridge_history_bytes", "Bytes of all histories. 0 with Redis.")
	historyEvictedDesc = desc("bridge_history_evicted_total", "Messages that left the histories before history.ttl, because of history.max_memory. 0 with Redis.")
)

func (s scrape) memory(stats store.MemoryStats) {
	s.gauge(historyBytesDesc, float64(stats.Bytes))
	s.counter(historyEvictedDesc, stats.Evicted)
}
