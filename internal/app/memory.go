package app

import "runtime"

// ballastBytes is how much garbage may pile up between two collections at least.
const ballastBytes = 48 << 20

// ballast makes collections of a small heap rarer. The heap of a node with few
// sockets is so small that at full load it would be collected ten times a second,
// a tenth of all work. Nobody touches the ballast, so the system never gives it
// memory: it counts only in the collector's arithmetic, and in go_memstats. The
// caller keeps it until the end.
func ballast() (release func()) {
	b := make([]byte, ballastBytes)
	return func() { runtime.KeepAlive(b) }
}
