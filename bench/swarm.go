package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// swarm is the browsers of a run: one for each user. A goroutine and a buffer for each
// would cost more than what is measured, so one goroutine asks the system which sockets
// have something to read, and reads them into one buffer.
type swarm struct {
	to     unix.SockaddrInet4
	first  int            // the first one's user
	poller *poller        // watches the sockets
	done   sync.WaitGroup // the reader

	received atomic.Uint64 // messages, since the beginning
	bytes    atomic.Uint64 // read, since the beginning
	zip      *inflater     // the reader's; nil: browsers take nothing compressed
	progress chan struct{} // has a token after more were received; for one waiter
	slots    chan struct{} // taken by a connect in hand

	mu         sync.Mutex // guards all below; the reader holds it for a round
	clients    []*client
	latencies  latencies // of messages, since the last mark
	last       time.Duration
	connects   latencies
	ready      int           // connects that came to their end
	failed     int           // connects that did not
	readyAt    time.Duration // when the last connect ended
	refusal    error         // of the first connect that failed
	faults     faults
	complaints []string      // of the first browsers that were connected and are not any more
	settled    chan struct{} // has a token after a connect has ended; for one waiter
}

const (
	connecting    = 512 // connects in hand at a time
	sources       = 16  // addresses that clients connect from: 127.0.1.1 and on
	maxComplaints = 5
	readBuffer    = 256 << 10
)

// newSwarm starts the reader of browsers whose users are numbered from first on. Close ends it.
func newSwarm(port, first int) (*swarm, error) {
	poller, err := newPoller(512)
	if err != nil {
		return nil, err
	}
	s := &swarm{
		to: unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}, first: first, poller: poller,
		progress: make(chan struct{}, 1), settled: make(chan struct{}, 1), slots: make(chan struct{}, connecting),
		latencies: newLatencies(), connects: newLatencies(),
	}
	s.done.Go(s.read)
	return s, nil
}

// close ends every connection and the reader.
func (s *swarm) close() {
	_ = s.poller.Close() // which ends the reader
	s.done.Wait()
	for _, c := range s.clients {
		if c.state != gone {
			_ = unix.Close(c.fd)
		}
	}
}

// connect adds n browsers, for the users after those that are there, and waits until each
// is mapped to its user or has failed.
func (s *swarm) connect(ctx context.Context, n int) error {
	const limit = 60 * time.Second
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errors.New("not all connects have ended"))
	defer cancel()
	for range n {
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := s.dial(); err != nil {
			return err
		}
	}
	for {
		s.mu.Lock()
		all := s.ready+s.failed == len(s.clients)
		s.mu.Unlock()
		if all {
			return nil
		}
		select {
		case <-s.settled:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// connectAll is connect, for those who need every browser.
func (s *swarm) connectAll(ctx context.Context, n int) error {
	if err := s.connect(ctx, n); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed > 0 {
		return fmt.Errorf("%d of %d connects failed, such as: %w", s.failed, n, s.refusal)
	}
	return nil
}

// dial begins one connect. The reader goes on with it.
func (s *swarm) dial() error {
	began := now()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := len(s.clients)
	c := &client{fd: fd, user: s.first + i, began: began, zip: s.zip}
	s.clients = append(s.clients, c)
	// One address has ports for 28,000 connections, less those that have just been closed.
	from := unix.SockaddrInet4{Addr: [4]byte{127, 0, 1, byte(1 + i%sources)}}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		unix.Bind(fd, &from),
	)
	if err == nil {
		if err = unix.Connect(fd, &s.to); errors.Is(err, unix.EINPROGRESS) {
			err = nil
		}
	}
	if err == nil {
		err = s.poller.add(fd, unix.EPOLLOUT, int32(i))
	}
	if err != nil {
		s.end(c, err)
	}
	return nil
}

// read is the reader. It ends when what it waits for is closed.
func (s *swarm) read() {
	buf := make([]byte, readBuffer)
	for {
		events, err := s.poller.wait()
		if _, failed := errors.AsType[unix.Errno](err); failed {
			panic(err) // the descriptor is ours until we return
		}
		if err != nil {
			return
		}
		s.round(events, buf)
	}
}

// round serves the clients that have something to read.
func (s *swarm) round(events []unix.EpollEvent, buf []byte) {
	before := s.received.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ev := range events {
		c := s.clients[ev.Fd]
		if c.state == gone {
			continue
		}
		was := c.state
		err := s.serve(c, ev, buf)
		if err != nil {
			s.end(c, err)
		} else if was != connected && c.state == connected {
			s.readyAt = now()
			s.connects.record(s.readyAt - c.began)
			s.ready++
			s.settle()
		}
	}
	if s.received.Load() != before {
		poke(s.progress)
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (s *swarm) settle() {
	<-s.slots
	poke(s.settled)
}

// serve goes on with one client. With s.mu held.
func (s *swarm) serve(c *client, ev unix.EpollEvent, buf []byte) error {
	if c.state == dialing {
		if code, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || code != 0 {
			return fmt.Errorf("connect: %w", errors.Join(err, unix.Errno(code)))
		}
		c.state = upgrading
		if err := unix.EpollCtl(s.poller.fd, unix.EPOLL_CTL_MOD, c.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: ev.Fd}); err != nil {
			return fmt.Errorf("watch socket: %w", err)
		}
		return write(c.fd, c.request())
	}
	n, err := unix.Read(c.fd, buf)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return nil
	case err != nil:
		return fmt.Errorf("read: %w", err)
	case n == 0:
		return errClosed
	}
	at := now()
	s.bytes.Add(uint64(n))
	in := buf[:n]
	if len(c.rest) > 0 {
		in = append(c.rest, in...)
	}
	rest, err := c.take(in, func(b []byte) error { return write(c.fd, b) }, func(n uint64, sent time.Duration) {
		c.seq.take(n, &s.faults)
		s.latencies.record(at - sent)
		s.last = at
		s.received.Add(1)
	})
	if len(rest) == 0 {
		c.rest = nil // an idle browser holds no buffer
	} else {
		c.rest = append(c.rest[:0], rest...)
	}
	return err
}

// write sends the little that a browser says, which always has room.
func write(fd int, b []byte) error {
	if n, err := unix.Write(fd, b); err != nil || n != len(b) {
		return fmt.Errorf("wrote %d of %d bytes: %w", n, len(b), errors.Join(err, errClosed))
	}
	return nil
}

// end gives a client up. With s.mu held.
func (s *swarm) end(c *client, why error) {
	why = fmt.Errorf("browser of user_%d: %w", c.user, why)
	if c.state == connected {
		if len(s.complaints) < maxComplaints {
			s.complaints = append(s.complaints, why.Error())
		}
	} else {
		s.failed++
		if s.refusal == nil {
			s.refusal = why
		}
		s.settle()
	}
	c.state, c.rest = gone, nil
	_ = unix.Close(c.fd)
}

// mark forgets the latencies so far, of messages and of connects.
func (s *swarm) mark() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latencies, s.connects = newLatencies(), newLatencies()
}

// connected returns how long connects took since the last mark, how many have ever failed, and
// when the last came to its end.
func (s *swarm) connected() (took latencies, failed int, last time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	took = newLatencies()
	took.merge(s.connects)
	return took, s.failed, s.readyAt
}

// since returns the latencies since the last mark, and when the last message came.
func (s *swarm) since() (latencies, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := newLatencies()
	l.merge(s.latencies)
	return l, s.last
}

// judge holds what came against what was sent, from the first user on, and says what was wrong.
func (s *swarm) judge(sent []uint64) (faults, []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.faults
	for i, n := range sent {
		f.lost += s.clients[i].seq.lost(n)
	}
	return f, s.complaints
}
