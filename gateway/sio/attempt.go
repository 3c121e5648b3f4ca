package sio

import (
	"net"
	"sync"
	"syscall"
)

// attempt is a write that does not wait, kept to be used again because what the
// runtime calls must not be made anew for each. Used by one goroutine at a time.
type attempt struct {
	b     []byte
	n     int
	err   error
	write func(fd uintptr) (done bool) // writes b, sets n and err
}

var attempts = sync.Pool{New: func() any {
	a := new(attempt)
	a.write = func(fd uintptr) bool {
		a.n, a.err = writeFD(fd, a.b)
		return true // whatever came of it: the runtime is not to wait
	}
	return a
}}

// attempt writes as much of b as the system takes at once. On a connection that is
// not plain TCP, such as TLS, that is nothing.
func (l *link) attempt(a *attempt, b []byte) (int, error) {
	if l.raw == nil {
		return 0, nil
	}
	a.b = b
	err := l.raw.Write(a.write)
	a.b = nil
	if err != nil {
		return 0, err // closed
	}
	return a.n, a.err
}

// rawConn is a plain TCP connection's way around the runtime's waiting, or nil.
func rawConn(nc net.Conn) syscall.RawConn {
	tcp, ok := nc.(tcpConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}
