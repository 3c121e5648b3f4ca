package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// errRace means that a bridge built with the race detector has found one.
var errRace = errors.New("data race")

// process is a program that can be killed, stopped and started again. Its
// methods are for one goroutine at a time.
type process struct {
	name string
	path string
	args []string
	env  []string
	dir  string // where it runs and where its log is

	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
}

func (p *process) logFile() string { return filepath.Join(p.dir, p.name+".log") }

// start runs the program. What it says is appended to its log.
func (p *process) start() error {
	log, err := os.OpenFile(p.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log of %s: %w", p.name, err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(p.path, p.args...)
	cmd.Dir, cmd.Env = p.dir, p.env
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	done := make(chan struct{})
	go func() { // ends with the process
		defer close(done)
		_ = cmd.Wait() // its status is in cmd.ProcessState
	}()
	p.cmd, p.done = cmd, done
	return nil
}

func (p *process) alive() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

func (p *process) signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	return nil
}

// kill ends the process as a crash would.
func (p *process) kill() {
	if p.alive() {
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// stop asks the process to end and waits for it.
func (p *process) stop() error {
	if !p.alive() {
		return fmt.Errorf("%s has ended by itself: %v", p.name, p.cmd.ProcessState)
	}
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		p.kill()
		return fmt.Errorf("%s did not stop within 30 s", p.name)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("%s ended with status %d", p.name, code)
	}
	return nil
}

// raced looks for the race detector's word in the log.
func (p *process) raced() error {
	log, err := os.ReadFile(p.logFile())
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	if bytes.Contains(log, []byte("DATA RACE")) {
		return fmt.Errorf("%w in %s: see %s", errRace, p.name, p.logFile())
	}
	return nil
}

// environment is ours without what would configure the bridge.
func environment(more ...string) []string {
	var env []string
	for _, e := range os.Environ() {
		switch name, _, _ := strings.Cut(e, "="); name {
		case "PATH", "HOME", "TMPDIR":
			env = append(env, e)
		}
	}
	return append(append(env, "GORACE=halt_on_error=1"), more...)
}

// lastPort is the last one given out. They are below those that the system gives to
// outgoing connections: a process that starts again must find its port free.
var lastPort atomic.Int32

func init() { lastPort.Store(26_000 + rand.Int32N(4000)) }

// freePort finds a port for a process that is about to start.
func freePort() (string, error) {
	for range 1000 {
		port := strconv.Itoa(int(lastPort.Add(1)))
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			return port, l.Close()
		}
	}
	return "", errors.New("no free port")
}

// waitFor asks until state answers "", and fails with its last answer.
func waitFor(what string, limit time.Duration, state func() string) error {
	last := ""
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if last = state(); last == "" {
			return nil
		}
	}
	return fmt.Errorf("waited %v in vain until %s: %s", limit, what, last)
}
