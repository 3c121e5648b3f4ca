package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// onSchedule calls publish so many times a second until ctx ends, each with the time at which it
// is due. When publish is late the next calls catch up, and carry the time they were due at.
//
// The runtime's own timers are late by up to a millisecond on an idle machine, which is longer
// than a message takes; a timer of the system's is exact, and the runtime waits for it as for a
// connection. Sleeping in a system call instead would be exact too, but whoever sleeps there keeps
// a processor of the runtime until that takes it away, which may last 10 ms. On a machine of two
// processors what publish has left to another goroutine, as the client of NATS does, then waits,
// and the server would be charged for it.
func onSchedule(ctx context.Context, rate int, publish func(i int, due time.Duration) error) (err error) {
	every := time.Second / time.Duration(rate)
	ticks, err := newTicks(every)
	if err != nil {
		return err
	}
	defer func() { _ = ticks.Close() }()
	began := now()
	var passed [8]byte // how many ticks; the clock tells as well
	for i := 0; ctx.Err() == nil; i++ {
		due := began + time.Duration(i)*every
		for now() < due {
			if _, err := ticks.Read(passed[:]); err != nil {
				return fmt.Errorf("wait for timer: %w", err)
			}
		}
		if err := publish(i, due); err != nil {
			return err
		}
	}
	return nil
}

// newTicks makes a timer that can be read from after each tick.
func newTicks(every time.Duration) (*os.File, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create timer: %w", err)
	}
	ticks := os.NewFile(uintptr(fd), "timer") // does not block: the runtime waits for it
	interval := unix.NsecToTimespec(every.Nanoseconds())
	if err := unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Interval: interval, Value: interval}, nil); err != nil {
		_ = ticks.Close()
		return nil, fmt.Errorf("set timer: %w", err)
	}
	return ticks, nil
}

// sparing runs measure with one processor of the runtime's. At a fixed rate this program has little to do, and
// with two it wakes a thread for each goroutine that becomes ready, on a processor that what is measured
// could use.
func sparing[T any](measure func() (T, error)) (T, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	return measure()
}
