package procs

import (
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

// Process is a program that can be killed, stopped and started again. It is killed
// when ours ends, however that ends; also when the thread that started it does, so a goroutine
// must not end locked to one. Its methods, but PID, are for one goroutine at a time.
type Process struct {
	Name string
	Path string
	Args []string
	Env  []string
	Dir  string // where it runs and where its log is

	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
	pid  atomic.Int64  // 0 before the first start
}

// LogFile is where what it says goes.
func (p *Process) LogFile() string { return filepath.Join(p.Dir, p.Name+".log") }

// Start runs the program. What it says is appended to its log.
func (p *Process) Start() error {
	log, err := os.OpenFile(p.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log of %s: %w", p.Name, err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(p.Path, p.Args...)
	cmd.Dir, cmd.Env = p.Dir, p.Env
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	done := make(chan struct{})
	go func() { // ends with the process
		defer close(done)
		_ = cmd.Wait() // its status is in cmd.ProcessState
	}()
	p.cmd, p.done = cmd, done
	p.pid.Store(int64(cmd.Process.Pid))
	return nil
}

// Alive reports whether it runs.
func (p *Process) Alive() bool {
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

// Done is closed when the process, which must have been started, has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Signal sends a signal; the process must have been started.
func (p *Process) Signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("signal %s: %w", p.Name, err)
	}
	return nil
}

// PID is the number of the process that was started last; 0 before the first start.
func (p *Process) PID() int { return int(p.pid.Load()) }

// Kill ends the process as a crash would.
func (p *Process) Kill() {
	if p.Alive() {
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// Stop asks the process to end and waits for it.
func (p *Process) Stop() error {
	if !p.Alive() {
		return fmt.Errorf("%s has ended by itself: %v", p.Name, p.cmd.ProcessState)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		p.Kill()
		return fmt.Errorf("%s did not stop within 30 s", p.Name)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("%s ended with status %d", p.Name, code)
	}
	return nil
}

// Environment is ours without what would configure the bridge.
func Environment(more ...string) []string {
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

// FreePort finds a port for a process that is about to start.
func FreePort() (string, error) {
	for range 1000 {
		port := strconv.Itoa(int(lastPort.Add(1)))
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			return port, l.Close()
		}
	}
	return "", errors.New("no free port")
}

// WaitFor asks until state answers "", and fails with its last answer.
func WaitFor(what string, limit time.Duration, state func() string) error {
	last := ""
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if last = state(); last == "" {
			return nil
		}
	}
	return fmt.Errorf("waited %v in vain until %s: %s", limit, what, last)
}
