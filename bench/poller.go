package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// poller asks the system which of many sockets have something to say. The runtime waits
// for it as for a connection: see onSchedule. One goroutine waits.
type poller struct {
	*os.File // the epoll; to close it, and to set until when to wait
	fd       int
	conn     syscall.RawConn
	events   []unix.EpollEvent
}

// newPoller makes one that hears of so many events at a time at most.
func newPoller(most int) (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create epoll: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // so that the runtime waits for it
		return nil, errors.Join(fmt.Errorf("set epoll not to block: %w", err), unix.Close(fd))
	}
	p := &poller{File: os.NewFile(uintptr(fd), "epoll"), fd: fd, events: make([]unix.EpollEvent, most)}
	if p.conn, err = p.SyscallConn(); err != nil {
		return nil, errors.Join(fmt.Errorf("wait for epoll: %w", err), p.Close())
	}
	return p, nil
}

// add has it look out for what a descriptor has to say, whose events then have that id.
func (p *poller) add(fd int, what uint32, id int32) error {
	return unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: what, Fd: id})
}

// wait returns what there is, which is good until the next call. An error is a
// [unix.Errno] of the system, or the file's: it is closed, or [os.ErrDeadlineExceeded].
func (p *poller) wait() ([]unix.EpollEvent, error) {
	var n int
	var failure error
	err := p.conn.Read(func(fd uintptr) bool {
		if n, failure = unix.EpollWait(int(fd), p.events, 0); errors.Is(failure, unix.EINTR) {
			n, failure = 0, nil
		}
		return n != 0 || failure != nil
	})
	if err = errors.Join(err, failure); err != nil {
		return nil, err
	}
	return p.events[:n], nil
}
