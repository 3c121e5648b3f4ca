//go:build unix

package sio

import (
	"errors"
	"syscall"
)

// tryWrite writes as much of b as the system takes without waiting. On a connection that is
// not plain TCP, such as TLS, that is nothing.
func (l *link) tryWrite(b []byte) (n int, err error) {
	if l.raw == nil {
		return 0, nil
	}
	closed := l.raw.Write(func(fd uintptr) bool {
		for {
			if n, err = syscall.Write(int(fd), b); !errors.Is(err, syscall.EINTR) {
				return true // also when the buffer is full: the runtime must not wait
			}
		}
	})
	switch {
	case closed != nil:
		return 0, closed
	case errors.Is(err, syscall.EAGAIN):
		return 0, nil
	}
	return max(n, 0), err
}
