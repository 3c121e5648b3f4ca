package siotest

import (
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

// Browse opens a page in a headless Chromium for the time of the test. Without
// Chromium the test is skipped, or fails when CI is set.
func Browse(t testing.TB, url string) {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		missing(t, "chromium is not installed")
	}
	cmd := exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--user-data-dir="+t.TempDir(), url)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it starts many processes, which end together
	if err := cmd.Start(); err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may have ended
		_ = cmd.Wait()                                      // killed
	})
}

// Script is the official client as a browser loads it: the path of the file.
func Script() string {
	_, here, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(here), "..", "..", "e2e", "node_modules", "socket.io-client", "dist", "socket.io.min.js")
}
