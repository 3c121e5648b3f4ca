//go:build unix && !aix && !solaris

package subscriber

import (
	"fmt"
	"os"
	"syscall"
)

// lockFile takes an exclusive lock that ends when the file is closed or the
// process dies. It does not wait.
func lockFile(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return f, nil
}
