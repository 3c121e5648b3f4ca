package subscriber

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// The embedded server writes to the disk every nats.embedded.sync. When the machine dies, the newest
// messages are lost, and what would tell so, the lease, is lost with them: it is in the same files.
// So the lock file says in which run of the machine the files were in use. After another run without
// a stop between, a new epoch begins at the stream's end: clients that have more are told a gap.

// markInUse says that the files are in use from now on.
func markInUse(lock *os.File) error {
	text := []byte("in use, boot " + bootID())
	_, err := lock.WriteAt(text, 0) // over what says so of another boot: the file is never empty meanwhile
	if err == nil {
		err = lock.Truncate(int64(len(text)))
	}
	if err == nil {
		err = lock.Sync()
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", lock.Name(), err)
	}
	return nil
}

// markStopped says that the files are complete.
func markStopped(lock *os.File) error { return lock.Truncate(0) }

// crashed reports whether the files were in use when the machine died. Where the system does not tell
// one run of the machine from another, each crash of the process counts as one of the machine.
func crashed(lock *os.File) bool {
	text, err := io.ReadAll(lock)
	boot, inUse := strings.CutPrefix(string(text), "in use, boot ")
	return err == nil && inUse && (boot == "" || boot != bootID())
}

// bootID names this run of the machine; empty where the system does not tell.
func bootID() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // Linux only
	return strings.TrimSpace(string(id))
}
