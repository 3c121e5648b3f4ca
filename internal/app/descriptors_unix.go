//go:build linux || darwin

package app

import "syscall"

// descriptorLimit returns the maximum number of file descriptors. The Go runtime has raised the soft
// limit to the hard limit.
func descriptorLimit() (n uint64, known bool) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, false
	}
	return l.Cur, true
}
