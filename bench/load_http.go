package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// httpLoad is callers of POST /sendPayload, each on a connection that it keeps, each waiting for its
// answer. A user belongs to one caller, whose calls come one after the other, so the user's messages
// have an order.
//
// As with browsers, a goroutine for each would cost as much as what is measured: one asks the
// system whose answers are there, and net/http's client has no part in it. Its methods are for one
// goroutine.
type httpLoad struct {
	*window
	mill    *mill
	poller  *poller // watches the connections
	callers []*caller
	calling int           // callers that wait for their answer
	heard   time.Duration // when the last answer came
	buf     []byte
}

type caller struct {
	fd    int
	busy  bool            // it waits for its answer
	due   []time.Duration // calls that wait for it meanwhile
	rest  []byte          // the beginning of an answer
	out   []byte
	body  []byte
	users []int
	next  int
}

// errAnswer means that a call was not served.
var errAnswer = errors.New("not the answer 200")

func dialHTTP(addr string, w *window, m *mill, callers int) (*httpLoad, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("connect caller: %w", err)
	}
	poller, err := newPoller(callers + 1)
	if err != nil {
		return nil, err
	}
	l := &httpLoad{window: w, mill: m, poller: poller, buf: make([]byte, 64<<10)}
	if err := l.wakeSoon(); err != nil {
		return nil, errors.Join(err, poller.Close())
	}
	for i := range callers {
		c, err := l.dial(to, i)
		if err != nil {
			l.close()
			return nil, fmt.Errorf("connect caller: %w", err)
		}
		for user := i; user < len(m.sent); user += callers {
			c.users = append(c.users, user)
		}
	}
	return l, nil
}

// dial connects the caller with that number.
func (l *httpLoad) dial(to netip.AddrPort, i int) (*caller, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	c := &caller{fd: fd}
	l.callers = append(l.callers, c)
	return c, errors.Join(
		unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		unix.SetNonblock(fd, true),
		l.poller.add(fd, unix.EPOLLIN, int32(i)),
	)
}

// call posts the caller's next message.
func (l *httpLoad) call(c *caller, due time.Duration) error {
	user := c.users[c.next]
	c.next = (c.next + 1) % len(c.users)
	c.body = l.mill.appendBody(c.body[:0], user, due, true)
	l.published.Add(1)
	c.out = append(c.out[:0], "POST /sendPayload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: "...)
	c.out = strconv.AppendInt(c.out, int64(len(c.body)), 10)
	c.out = append(append(c.out, "\r\n\r\n"...), c.body...)
	c.busy = true
	l.calling++
	return write(c.fd, c.out)
}

// events waits for some, but not for long.
func (l *httpLoad) events() ([]unix.EpollEvent, error) {
	events, err := l.poller.wait()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = l.wakeSoon()
	}
	if err != nil {
		return nil, fmt.Errorf("wait for answers: %w", err)
	}
	return events, nil
}

// wakeSoon bounds the waits from now on.
func (l *httpLoad) wakeSoon() error {
	return l.poller.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
}

// listen waits for events, but not for long, and calls answered for each caller that has its
// answer. It returns true when the timer, if there is one, has an event too.
func (l *httpLoad) listen(answered func(*caller) error) (ticked bool, err error) {
	events, err := l.events()
	if err != nil {
		return false, err
	}
	for _, ev := range events {
		if ev.Fd == timerEvent {
			ticked = true
			continue
		}
		c := l.callers[ev.Fd]
		whole, err := l.read(c)
		if err == nil && whole {
			c.busy, l.heard = false, now()
			l.calling--
			err = answered(c)
		}
		if err != nil {
			return ticked, err
		}
	}
	if l.calling > 0 && now()-l.heard > patience {
		return ticked, fmt.Errorf("%w: %d calls have no answer", errStuck, l.calling)
	}
	return ticked, nil
}

// read takes what has come for a caller, and reports whether its answer is whole.
func (l *httpLoad) read(c *caller) (whole bool, err error) {
	n, err := unix.Read(c.fd, l.buf)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read answer: %w", err)
	case n == 0:
		return false, fmt.Errorf("read answer: %w", errClosed)
	}
	in := l.buf[:n]
	if len(c.rest) > 0 {
		in = append(c.rest, in...)
	}
	size, err := answerSize(in)
	if err != nil {
		return false, err
	}
	if size == 0 {
		c.rest = append(c.rest[:0], in...)
		return false, nil
	}
	if size < len(in) || !c.busy {
		return false, fmt.Errorf("%w: more than was asked for", errAnswer)
	}
	c.rest = c.rest[:0]
	return true, nil
}

var (
	statusOK      = []byte("HTTP/1.1 200 ")
	contentLength = []byte("content-length:")
	lineEnd       = []byte("\r\n")
	headEnd       = []byte("\r\n\r\n")
)

// answerSize is the length of the answer that b begins with, 0 while some of it is to come. It
// wants a length in it, and 200.
func answerSize(b []byte) (int, error) {
	head, _, whole := bytes.Cut(b, headEnd)
	if !whole {
		return 0, nil
	}
	status, fields, _ := bytes.Cut(head, lineEnd)
	length := -1
	for len(fields) > 0 {
		var field []byte
		field, fields, _ = bytes.Cut(fields, lineEnd)
		if n := len(contentLength); len(field) > n && bytes.EqualFold(field[:n], contentLength) {
			var err error
			if length, err = strconv.Atoi(string(bytes.TrimSpace(field[n:]))); err != nil {
				return 0, fmt.Errorf("%w: %w", errAnswer, err)
			}
		}
	}
	if length < 0 {
		return 0, fmt.Errorf("%w: no length", errAnswer)
	}
	from := len(head) + len(headEnd)
	if len(b) < from+length {
		return 0, nil
	}
	if !bytes.HasPrefix(b, statusOK) {
		return 0, fmt.Errorf("%w: %s %.200s", errAnswer, status, b[from:])
	}
	return from + length, nil
}

// finish waits for the answers to all calls, and to those that wait for their caller.
func (l *httpLoad) finish() error {
	for l.calling > 0 {
		if _, err := l.listen(l.more); err != nil {
			return err
		}
	}
	return nil
}

// more makes a call that has waited for its caller.
func (l *httpLoad) more(c *caller) error {
	if len(c.due) == 0 {
		return nil
	}
	due := c.due[0]
	c.due = c.due[1:]
	return l.call(c, due)
}

func (l *httpLoad) flood(ctx context.Context) error {
	l.heard = now()
	for _, c := range l.callers {
		if err := l.call(c, now()); err != nil {
			return err
		}
	}
	for ctx.Err() == nil {
		if _, err := l.listen(func(c *caller) error { return l.call(c, now()) }); err != nil {
			return err
		}
	}
	return l.finish()
}

// timerEvent is what the timer has in place of a caller's number.
const timerEvent = -1

// pace makes each call when it is due. A caller that is busy finds it waiting, and the wait counts.
func (l *httpLoad) pace(ctx context.Context, rate int) error {
	const waiting = 1024 // for one caller: half a minute of 2,000 calls a second by 64
	every := time.Second / time.Duration(rate)
	ticks, err := newTicks(every)
	if err != nil {
		return err
	}
	defer func() { _ = ticks.Close() }() // the epoll forgets it then
	if err := l.watch(ticks); err != nil {
		return err
	}
	began := now()
	l.heard = began
	var passed [8]byte // how many ticks; the clock tells as well
	for i := 0; ctx.Err() == nil; {
		ticked, err := l.listen(l.more)
		if err != nil {
			return err
		}
		if !ticked {
			continue
		}
		if _, err := ticks.Read(passed[:]); err != nil {
			return fmt.Errorf("wait for timer: %w", err)
		}
		for ; began+time.Duration(i)*every <= now(); i++ {
			c, due := l.callers[i%len(l.callers)], began+time.Duration(i)*every
			switch {
			case !c.busy:
				err = l.call(c, due)
			case len(c.due) < waiting:
				c.due = append(c.due, due)
			default:
				err = fmt.Errorf("%w: %d calls wait for one caller", errStuck, waiting)
			}
			if err != nil {
				return err
			}
		}
	}
	return l.finish()
}

// watch adds the timer to what listen waits for.
func (l *httpLoad) watch(ticks *os.File) error {
	timer, err := ticks.SyscallConn()
	if err != nil {
		return fmt.Errorf("watch timer: %w", err)
	}
	var failure error
	err = timer.Control(func(fd uintptr) {
		failure = l.poller.add(int(fd), unix.EPOLLIN, timerEvent)
	})
	if err = errors.Join(err, failure); err != nil {
		return fmt.Errorf("watch timer: %w", err)
	}
	return nil
}

func (l *httpLoad) settle(ctx context.Context) error { return l.drain(ctx) }

func (l *httpLoad) close() {
	for _, c := range l.callers {
		_ = unix.Close(c.fd)
	}
	_ = l.poller.Close()
}
