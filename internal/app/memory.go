package app

import "runtime"

// ballastBytes is the minimum of garbage between two collections.
const ballastBytes = 48 << 20

// ballast makes collections of a small heap rarer. The heap of a node with few sockets is so small
// that the collector would run ten times a second at full load and use a tenth of the CPU. GOGC
// cannot do this: it is a ratio, and would let a large heap grow by the same ratio; GOMEMLIMIT is an
// upper bound. The ballast is never touched, so it uses no physical memory; it counts only in the
// collector's pacing and in go_memstats. The caller calls release at the end.
func ballast() (release func()) {
	b := make([]byte, ballastBytes)
	return func() { runtime.KeepAlive(b) }
}
