package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A virtual machine's processors stand still whenever its host has something else to do, and the
// machine is not told: nothing in /proc says so. Every message on its way then is late, whoever is to
// bring it. The witness is a process that wants each processor for a moment every 2 ms, before
// everybody else; when it is late, so was the processor.
const witnessProgram = "witness"

const (
	witnessEvery = 2 * time.Millisecond
	// witnessLate is less than that what the system itself makes late: interrupts, and waking up.
	witnessLate = 250 * time.Microsecond
)

// stillness is how long a processor stood still. What begins and ends between two looks is not seen.
type stillness struct{ sum, longest time.Duration }

// note takes how late a look was.
func (s *stillness) note(late time.Duration) {
	if late >= witnessLate {
		s.sum += late
		s.longest = max(s.longest, late)
	}
}

// witness is the program. It ends with SIGTERM, and then prints what it has seen.
func witness() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	seen := make([]stillness, runtime.NumCPU())
	failed := make([]error, len(seen))
	var all sync.WaitGroup
	for i := range seen {
		all.Go(func() { failed[i] = watchProcessor(ctx, i, &seen[i]) })
	}
	all.Wait()
	var sum stillness
	for _, s := range seen {
		sum.sum += s.sum
		sum.longest = max(sum.longest, s.longest)
	}
	_, err := fmt.Fprintln(os.Stdout, int64(sum.sum), int64(sum.longest))
	return errors.Join(append(failed, err)...)
}

// watchProcessor watches one processor until ctx ends.
func watchProcessor(ctx context.Context, processor int, seen *stillness) error {
	runtime.LockOSThread() // for good: the thread is of no use to others any more
	var only unix.CPUSet
	only.Set(processor)
	if err := unix.SchedSetaffinity(0, &only); err != nil {
		return fmt.Errorf("stay on processor %d: %w", processor, err)
	}
	first := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 99}
	if err := unix.SchedSetAttr(0, &first, 0); err != nil {
		return fmt.Errorf("come before everybody else: %w", err)
	}
	var at unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &at); err != nil {
		return fmt.Errorf("ask for the time: %w", err)
	}
	due := time.Duration(at.Nano())
	for ctx.Err() == nil {
		due += witnessEvery
		until := unix.NsecToTimespec(int64(due))
		// Without telling the runtime, whose monitor would otherwise look every 20 µs whether this
		// has returned: more than all the rest costs.
		_, _, _ = unix.RawSyscall6(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, uintptr(unsafe.Pointer(&until)), 0, 0, 0)
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &at); err != nil {
			return fmt.Errorf("ask for the time: %w", err)
		}
		now := time.Duration(at.Nano())
		seen.note(now - due)
		due = max(due, now-witnessEvery) // what it slept through is one look
	}
	return nil
}

// watched has the witness look on while something is measured. Where the system does not let it come
// before everybody else, which takes root's rights, the sample says nothing of it.
func (l *lab) watched(measure func() (*sample, error)) (*sample, error) {
	p, err := l.startRole(witnessProgram, []string{"GODEBUG=asyncpreemptoff=1", "GOMAXPROCS=" + strconv.Itoa(runtime.NumCPU()+1)}, witnessProgram)
	if p != nil {
		defer p.Kill()
	}
	if err != nil {
		return nil, err
	}
	began := now()
	s, err := measure()
	if err != nil {
		return s, err
	}
	over := now() - began
	if p.Stop() != nil {
		return s, nil // it was not allowed to
	}
	said, err := os.ReadFile(p.LogFile())
	if err != nil {
		return s, fmt.Errorf("read what the witness saw: %w", err)
	}
	sum, _, _ := strings.Cut(string(said), " ")
	stood, err := strconv.ParseInt(sum, 10, 64)
	if err != nil {
		return s, fmt.Errorf("read what the witness saw: %w", err)
	}
	s.stood = new(float64(stood) / float64(over))
	return s, nil
}
