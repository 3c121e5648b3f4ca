//go:build !linux

package admin

import "runtime"

// rss is about the memory of this process that is in the machine's.
func rss() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Sys - m.HeapReleased
}
