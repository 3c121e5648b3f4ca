//go:build unix

package sio

import (
	"errors"
	"syscall"
)

// writeFD writes to a descriptor that does not block. A full one takes nothing,
// which is no error.
func writeFD(fd uintptr, b []byte) (int, error) {
	for {
		n, err := syscall.Write(int(fd), b)
		switch {
		case err == nil:
			return n, nil
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return 0, nil
		default:
			return 0, err
		}
	}
}
