package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"
)

// httpLoad is callers of POST /sendPayload, each on a connection that it keeps. A user belongs to one
// caller, whose calls come one after the other, so the user's messages have an order.
type httpLoad struct {
	*window
	mill    *mill
	callers []*caller
}

type caller struct {
	conn  net.Conn
	in    *bufio.Reader
	out   []byte
	body  []byte
	users []int
	next  int
}

var errAnswer = errors.New("not the answer 200")

func dialHTTP(addr string, w *window, m *mill, callers int) (*httpLoad, error) {
	l := &httpLoad{window: w, mill: m}
	for i := range callers {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			l.close()
			return nil, fmt.Errorf("connect caller: %w", err)
		}
		c := &caller{conn: conn, in: bufio.NewReaderSize(conn, 2<<10)}
		for user := i; user < len(m.sent); user += callers {
			c.users = append(c.users, user)
		}
		l.callers = append(l.callers, c)
	}
	return l, nil
}

// call posts a user's next message and waits for the answer. net/http's client would cost more than
// the server.
func (l *httpLoad) call(c *caller, due time.Duration) error {
	user := c.users[c.next]
	c.next = (c.next + 1) % len(c.users)
	c.body = l.mill.appendBody(c.body[:0], user, due, true)
	l.published.Add(1)
	c.out = append(c.out[:0], "POST /sendPayload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: "...)
	c.out = strconv.AppendInt(c.out, int64(len(c.body)), 10)
	c.out = append(append(c.out, "\r\n\r\n"...), c.body...)
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return fmt.Errorf("set deadline: %w", err)
	}
	if _, err := c.conn.Write(c.out); err != nil {
		return fmt.Errorf("call: %w", err)
	}
	return readAnswer(c.in)
}

var (
	statusOK      = []byte("HTTP/1.1 200 ")
	contentLength = []byte("content-length:")
)

// readAnswer reads an answer that has a length, and wants it to be 200.
func readAnswer(in *bufio.Reader) error {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	bad := ""
	if !bytes.HasPrefix(line, statusOK) {
		bad = string(line)
	}
	length := -1
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			break
		}
		if n := len(contentLength); len(line) > n && bytes.EqualFold(line[:n], contentLength) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[n:]))); err != nil {
				return fmt.Errorf("read answer: %w", err)
			}
		}
	}
	if length < 0 {
		return fmt.Errorf("%w: no length", errAnswer)
	}
	if bad != "" {
		body := make([]byte, min(length, 200))
		_, _ = io.ReadFull(in, body) // it is for the message only
		return fmt.Errorf("%w: %s%s", errAnswer, bad, body)
	}
	if _, err := in.Discard(length); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}

// each runs work for every caller at once, and ends ctx at the first error, which it returns.
func (l *httpLoad) each(ctx context.Context, work func(ctx context.Context, i int, c *caller) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		all   sync.WaitGroup
		once  sync.Once
		first error
	)
	for i, c := range l.callers {
		all.Go(func() {
			if err := work(ctx, i, c); err != nil {
				once.Do(func() { first = err })
				cancel()
			}
		})
	}
	all.Wait()
	return first
}

func (l *httpLoad) flood(ctx context.Context) error {
	return l.each(ctx, func(ctx context.Context, _ int, c *caller) error {
		for ctx.Err() == nil {
			if err := l.call(c, now()); err != nil {
				return err
			}
		}
		return nil
	})
}

// pace hands each call, when it is due, to its caller. One that is busy finds it waiting, and the
// wait counts.
func (l *httpLoad) pace(ctx context.Context, rate int) error {
	const waiting = 1024 // for one caller: half a minute of 2,000 calls a second by 64
	due := make([]chan time.Duration, len(l.callers))
	for i := range due {
		due[i] = make(chan time.Duration, waiting)
	}
	var schedule error
	var scheduler sync.WaitGroup
	scheduler.Go(func() {
		schedule = onSchedule(ctx, rate, func(i int, at time.Duration) error {
			select {
			case due[i%len(due)] <- at:
				return nil
			default:
				return fmt.Errorf("%w: %d calls wait for one caller", errStuck, waiting)
			}
		})
		for _, d := range due {
			close(d)
		}
	})
	err := l.each(ctx, func(_ context.Context, i int, c *caller) error {
		for at := range due[i] {
			if err := l.call(c, at); err != nil {
				return err
			}
		}
		return nil
	})
	scheduler.Wait()
	return errors.Join(err, schedule)
}

func (l *httpLoad) settle(ctx context.Context) error { return l.drain(ctx) }

func (l *httpLoad) close() {
	for _, c := range l.callers {
		_ = c.conn.Close()
	}
}
