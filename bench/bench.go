package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lab is what a run measures with.
type lab struct {
	programs
	dir      string // of logs and servers' files
	profiles string // where profiles of the bridge go; empty: none are taken
	scale    scale
	stage    int // a number for each system started
}

// scale is how long things are measured, and how much there is.
type scale struct {
	warm, flood, pace time.Duration
	storm             int           // connects
	idle              int           // connections
	rest              time.Duration // for which they are watched
	users             []int
}

// full is what the targets of docs/bench are measured at.
var full = scale{
	warm: time.Second, flood: 4 * time.Second, pace: 5 * time.Second,
	storm: 5000, idle: 20_000, rest: pingInterval, users: []int{200, 2000, 10_000, 20_000},
}

// quick shows in a minute that everything works. Its figures are of no use.
var quick = scale{
	warm: 200 * time.Millisecond, flood: time.Second, pace: time.Second,
	storm: 500, idle: 500, rest: 2 * time.Second, users: []int{200, 500},
}

// Where the issues' targets are measured.
const (
	fewUsers  = 200
	smallBody = 200  // bytes
	rate      = 2000 // messages a second
	callers   = 64
)

// raiseFiles lets this process, and those that it starts, have as many connections as the system
// allows, and returns how many that is, less what each needs for itself.
func raiseFiles() (int, error) {
	const own, wanted = 200, 32 << 10
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("ask for the limit of open files: %w", err)
	}
	// The administrator may raise the limit itself; others have what it is.
	higher := unix.Rlimit{Cur: wanted, Max: max(limit.Max, wanted)}
	if unix.Setrlimit(unix.RLIMIT_NOFILE, &higher) == nil {
		limit = higher
	}
	limit.Cur = limit.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("raise the limit of open files: %w", err)
	}
	return int(min(limit.Max, 1<<20)) - own, nil
}

// bound makes every number of connections one that the system allows.
func (s scale) bound(files int) scale {
	s.idle, s.storm = min(s.idle, files), min(s.storm, files-fewUsers)
	users := make([]int, len(s.users))
	for i, n := range s.users {
		users[i] = min(n, files)
	}
	s.users = users
	return s
}

// trial is one system with its browsers.
type trial struct {
	*system
	swarm *swarm
	mill  *mill
}

// open starts a system. The caller closes it, also after an error.
func (l *lab) open(name string, users, size int) (t *trial, err error) {
	l.stage++
	t = &trial{mill: newMill(users, size)}
	t.system, err = startSystem(filepath.Join(l.dir, fmt.Sprintf("%02d-%s", l.stage, name)), name, l.programs)
	if err != nil {
		return t, err
	}
	t.swarm, err = newSwarm(t.port, 0)
	return t, err
}

func (t *trial) close() {
	if t.swarm != nil {
		t.swarm.close()
	}
	t.stop()
}

// way is how messages are published.
type way string

const (
	byJetStream way = "JetStream"
	byCore      way = "core NATS"
	byHTTP      way = "HTTP"
)

// of is the way that a server has: the peer knows no JetStream.
func (w way) of(server string) way {
	if server == peer && w == byJetStream {
		return byCore
	}
	return w
}

func (t *trial) dial(w way) (load, error) {
	window := windowFor(t.swarm, t.mill.size)
	if w == byHTTP {
		return dialHTTP(t.addr(), window, t.mill, callers)
	}
	return dialNATS(t.natsURL, window, t.mill, w == byJetStream)
}

// sample is what was measured once.
type sample struct {
	messages  uint64
	bytes     uint64        // that came for them
	took      time.Duration // from the first publish to the last receipt
	cpu       cpu
	over      time.Duration // what cpu was measured over
	latencies latencies
	stood     *float64 // the share of the time for which processors stood still: see witness.go; nil: not known
}

// measure publishes for that long and waits for the last message.
func (t *trial) measure(ctx context.Context, l load, d time.Duration, publish func(context.Context) error) (*sample, error) {
	t.swarm.mark()
	before, bytesBefore := t.swarm.received.Load(), t.swarm.bytes.Load()
	cpuBefore, err := t.cpu()
	if err != nil {
		return nil, err
	}
	began := now()
	during, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	if err := errors.Join(publish(during), ctx.Err()); err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	if err := l.settle(ctx); err != nil {
		return nil, err
	}
	cpuAfter, err := t.cpu()
	if err != nil {
		return nil, err
	}
	s := &sample{messages: t.swarm.received.Load() - before, bytes: t.swarm.bytes.Load() - bytesBefore, cpu: cpuAfter.minus(cpuBefore), over: now() - began}
	var last time.Duration
	s.latencies, last = t.swarm.since()
	s.took = last - began
	return s, nil
}

// breach is an error that says what the server did wrong to messages.
type breach struct {
	faults
	complaints []string
}

func (b *breach) Error() string {
	return strings.Join(append([]string{fmt.Sprintf("%d lost, %d duplicates, %d inversions", b.lost, b.duplicates, b.inversions)}, b.complaints...), "; ")
}

// verdict is nil when every browser got what was sent to it, once and in order.
func (t *trial) verdict() error { return t.swarm.verdict(t.mill.sent) }

func (s *swarm) verdict(sent []uint64) error {
	if f, complaints := s.judge(sent); f.any() || len(complaints) > 0 {
		return &breach{f, complaints}
	}
	return nil
}

// profileDuring takes the bridge's profiles while publish runs, when they are wanted.
func (l *lab) profileDuring(ctx context.Context, t *trial, name string, d time.Duration, publish func(context.Context) error) func(context.Context) error {
	if l.profiles == "" || t.name != bridge {
		return publish
	}
	return func(during context.Context) error {
		if err := os.MkdirAll(l.profiles, 0o700); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
		taken := make(chan error, 1)
		file := filepath.Join(l.profiles, strings.ReplaceAll(name, " ", "-"))
		go func() {
			taken <- t.profile(ctx, fmt.Sprintf("profile?seconds=%d", max(int(d.Seconds()), 1)), file+"-cpu.pprof")
		}()
		err := publish(during)
		return errors.Join(err, <-taken, t.profile(ctx, "allocs", file+"-allocs.pprof"))
	}
}
