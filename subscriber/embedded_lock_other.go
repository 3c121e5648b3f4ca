//go:build !unix || aix || solaris

package subscriber

import "os"

// lockFile does not lock: these systems have no flock, and the port, which only
// one process can have, is the guard.
func lockFile(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
}
