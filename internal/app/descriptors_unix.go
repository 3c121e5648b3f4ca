//go:build linux || darwin

package app

import "syscall"

// descriptorLimit is how many descriptors this process may have. The runtime has
// raised the soft limit to the hard one.
func descriptorLimit() (n uint64, known bool) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, false
	}
	return l.Cur, true
}
