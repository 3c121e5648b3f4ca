package main

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

// yield has this process run only when nobody else wants the processor. A priority
// is a thread's own, and the runtime has several by now: so one thread lowers its
// own and becomes the program anew, whose threads all inherit it.
func yield() error {
	const idle = 5 // SCHED_IDLE, which syscall does not name
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	policy, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_GETSCHEDULER, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	if policy == idle {
		return nil
	}
	var priority int32 // of this policy there is only 0
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_SETSCHEDULER, 0, idle, uintptr(unsafe.Pointer(&priority))); errno != 0 {
		return errno
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	return fmt.Errorf("start anew: %w", syscall.Exec(self, os.Args, os.Environ()))
}
