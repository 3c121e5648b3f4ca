package app

import "github.com/codewar/socketbridge/bridge"

var (
	historyMessagesDesc = desc("bridge_history_messages", "Messages in the histories that this node knows: as leader, or standing by.")
	historyBytesDesc    = desc("bridge_history_bytes", "Bytes that they take in this process.")
	historyEvictedDesc  = desc("bridge_history_evicted_total", "Messages that left the histories before history.ttl, because of history.max_memory.")
	historyUnloadedDesc = desc("bridge_history_unloaded_total", "Payloads that left memory because of history.max_memory. They are read from the stream when needed.")
)

func (s scrape) history(stats bridge.IndexStats) {
	s.gauge(historyMessagesDesc, float64(stats.Messages))
	s.gauge(historyBytesDesc, float64(stats.Bytes))
	s.counter(historyEvictedDesc, stats.Evicted)
	s.counter(historyUnloadedDesc, stats.Unloaded)
}
