// Package procs runs the bridge and the servers that it needs as processes of their
// own, for the programs that break it (e2e/chaos) and that measure it (bench).
// Everything listens on 127.0.0.1.
package procs
