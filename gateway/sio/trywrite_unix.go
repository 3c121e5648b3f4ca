//go:build unix

package sio

import (
	"errors"
	"sync"
	"syscall"
)

// fdWrite is one write to a descriptor that does not block. The runtime takes a function, which
// a pool reuses: a new one for each write would be three allocations.
type fdWrite struct {
	b   []byte
	n   int
	err error
	do  func(fd uintptr) (done bool)
}

var fdWrites = sync.Pool{New: func() any {
	w := new(fdWrite)
	w.do = func(fd uintptr) bool {
		for {
			if w.n, w.err = syscall.Write(int(fd), w.b); !errors.Is(w.err, syscall.EINTR) {
				return true // also when the buffer is full: the runtime must not wait
			}
		}
	}
	return w
}}

// tryWrite writes as much of b as the system takes without waiting. On a connection that is
// not plain TCP, such as TLS, that is nothing.
func (l *link) tryWrite(b []byte) (int, error) {
	if l.raw == nil {
		return 0, nil
	}
	w := fdWrites.Get().(*fdWrite)
	defer fdWrites.Put(w)
	w.b, w.n, w.err = b, 0, nil
	closed := l.raw.Write(w.do)
	w.b = nil
	switch {
	case closed != nil:
		return 0, closed
	case errors.Is(w.err, syscall.EAGAIN):
		return 0, nil
	}
	return max(w.n, 0), w.err
}
