// Package redistest runs real redis-server processes for tests, and lets them
// fail: stall, die and come back empty.
package redistest

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Redis is one redis-server without persistence. Its methods are for one
// goroutine at a time and fail the test when they cannot do their work.
type Redis struct {
	// Addr is the path of a unix socket, which a Redis client takes for an address.
	Addr string

	t      testing.TB
	binary string
	dir    string
	cmd    *exec.Cmd // nil after Kill
}

// Server starts a server that is killed when the test ends. Without a redis-server
// in the PATH the test is skipped, or fails when the variable CI is set.
func Server(t testing.TB) *Redis {
	t.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("redis-server is needed: %v", err)
		}
		t.Skipf("no redis-server: %v", err)
	}
	// t.TempDir contains the test's name; a socket's path may have 107 bytes.
	dir, err := os.MkdirTemp("", "redis-")
	if err != nil {
		t.Fatalf("make directory for redis: %v", err)
	}
	s := &Redis{Addr: filepath.Join(dir, "s"), t: t, binary: binary, dir: dir}
	t.Cleanup(func() {
		if s.cmd != nil {
			s.Kill()
		}
		_ = os.RemoveAll(dir)
	})
	s.Restart()
	return s
}

// Restart starts the server again, empty, after Kill.
func (s *Redis) Restart() {
	s.t.Helper()
	if s.cmd != nil {
		s.t.Fatal("redis still runs: Kill it first")
	}
	cmd := exec.Command(s.binary, "--port", "0", "--unixsocket", s.Addr,
		"--save", "", "--appendonly", "no", "--dir", s.dir, "--daemonize", "no")
	var output lockedBuilder
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		s.t.Fatalf("start redis: %v", err)
	}
	s.cmd = cmd
	deadline := time.Now().Add(10 * time.Second)
	for !s.answers() {
		if time.Now().After(deadline) {
			s.t.Fatalf("redis does not answer:\n%s", output.String())
		}
		<-time.After(5 * time.Millisecond)
	}
}

// Kill ends the server as a crash would. Everything it had is lost.
func (s *Redis) Kill() {
	s.t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		s.t.Fatalf("kill redis: %v", err)
	}
	_ = s.cmd.Wait() // says "killed"
	s.cmd = nil
	_ = os.Remove(s.Addr)
}

// Stop makes the server stall: connections stay open and nothing is answered.
func (s *Redis) Stop() { s.signal(syscall.SIGSTOP) }

// Cont ends a Stop.
func (s *Redis) Cont() { s.signal(syscall.SIGCONT) }

// PID is the process id, for measurements.
func (s *Redis) PID() int { return s.cmd.Process.Pid }

// FlushAll empties the server.
func (s *Redis) FlushAll() { s.Do("FLUSHALL") }

// FlushScripts makes the server forget its Lua scripts.
func (s *Redis) FlushScripts() { s.Do("SCRIPT FLUSH") }

// Do runs one command, given as words without quotes, over a connection of its
// own and returns the first line of the answer.
func (s *Redis) Do(command string) string {
	s.t.Helper()
	line, err := s.ask(command)
	if err != nil {
		s.t.Fatalf("redis %s: %v", command, err)
	}
	return line
}

func (s *Redis) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatalf("signal redis: %v", err)
	}
}

func (s *Redis) answers() bool {
	line, err := s.ask("PING")
	return err == nil && line == "+PONG"
}

func (s *Redis) ask(command string) (string, error) {
	conn, err := net.DialTimeout("unix", s.Addr, time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(conn, "%s\r\n", command); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return "", err
	}
	if strings.HasPrefix(line, "-") {
		return "", errors.New(strings.TrimSpace(line))
	}
	return strings.TrimSpace(line), nil
}

// lockedBuilder collects what the process prints while the test reads it.
type lockedBuilder struct {
	mu sync.Mutex // guards b
	b  strings.Builder
}

func (l *lockedBuilder) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuilder) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
