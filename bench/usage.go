package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of the times in /proc: USER_HZ, the same on every Linux we know.
const tick = 10 * time.Millisecond

var errProc = errors.New("not what /proc says")

// cpuOf is the processor time that a process, all threads of it, has used.
func cpuOf(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read processor time: %w", err)
	}
	return parseStat(string(stat))
}

// parseStat reads user and system time. The name, the second field, may hold anything.
func parseStat(stat string) (time.Duration, error) {
	end := strings.LastIndexByte(stat, ')')
	fields := strings.Fields(stat[end+1:])
	if end < 0 || len(fields) < 13 {
		return 0, errProc
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * tick, errors.Join(err1, err2)
}

// machineCPU is what all of the machine, and whoever else has a share of it, has used.
func machineCPU() (time.Duration, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, fmt.Errorf("read processor time: %w", err)
	}
	return parseMachine(string(stat))
}

// parseMachine adds up the first line but for the times that are idle (the fourth and
// fifth) and those of guests, which are counted in others.
func parseMachine(stat string) (busy time.Duration, err error) {
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, errProc
	}
	for _, i := range []int{1, 2, 3, 6, 7, 8} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%w: %w", errProc, err)
		}
		busy += time.Duration(n) * tick
	}
	return busy, nil
}

// ownCPU is what this process has used.
func ownCPU() (time.Duration, error) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("ask for own processor time: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// memory is what a process holds resident, in bytes. In proportional, a page that it
// shares counts in part.
type memory struct{ resident, proportional int64 }

func memoryOf(pid int) (memory, error) {
	rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return memory{}, fmt.Errorf("read memory: %w", err)
	}
	return parseRollup(string(rollup))
}

func parseRollup(rollup string) (m memory, err error) {
	found := 0
	for line := range strings.Lines(rollup) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			continue
		}
		var into *int64
		switch fields[0] {
		case "Rss:":
			into = &m.resident
		case "Pss:":
			into = &m.proportional
		default:
			continue
		}
		kb, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return m, fmt.Errorf("%w: %w", errProc, err)
		}
		*into = kb << 10
		found++
	}
	if found != 2 {
		return m, errProc
	}
	return m, nil
}
