package clients

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"time"

	"github.com/codewar/socketbridge/internal/testutil/capture"
)

// command is what a driver is told; doc.go says what each field is.
type command struct {
	Do         string         `json:"do"`
	Tab        string         `json:"tab"`
	URL        string         `json:"url,omitempty"`
	Transports []string       `json:"transports,omitempty"`
	Auth       map[string]any `json:"auth,omitempty"`
	Name       string         `json:"name,omitempty"`
	Args       []any          `json:"args,omitempty"`
	Call       int            `json:"call,omitempty"`
}

// message is what a driver tells.
type message struct {
	Tab    string            `json:"tab"`
	Type   string            `json:"type"` // ready, connect, disconnect, refused, event, ack
	ID     string            `json:"id"`
	Reason string            `json:"reason"`
	Name   string            `json:"name"`
	Args   []json.RawMessage `json:"args"`
	Call   int               `json:"call"`
}

// driver runs the tabs of one client. Its methods are for one goroutine.
type driver interface {
	do(command) error
	// close ends the tabs and the driver. No message is told after it.
	close() error
}

// start starts a driver. Messages are told on another goroutine, one after the other.
type start func(tell func(message)) (driver, error)

// startLimit is how long a driver may take to start: a browser on a busy machine.
const startLimit = 2 * time.Minute

// process is a driver that is a program.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	ready chan struct{} // closed when it takes commands
	read  chan error    // closed when its output has ended; why, when that was wrong
	said  capture.Text  // standard error
}

// program starts a program that speaks the line protocol.
func program(name string, args ...string) start {
	return func(tell func(message)) (driver, error) {
		p := &process{cmd: exec.Command(name, args...), ready: make(chan struct{}), read: make(chan error, 1)}
		p.cmd.Stderr = &p.said
		p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		stdin, err1 := p.cmd.StdinPipe()
		stdout, err2 := p.cmd.StdoutPipe()
		if err := errors.Join(err1, err2, p.cmd.Start()); err != nil {
			return nil, fmt.Errorf("start %s: %w", name, err)
		}
		p.stdin = stdin
		go p.hear(stdout, tell) // ends with the process
		select {
		case <-p.ready:
			return p, nil
		case err := <-p.read:
			return nil, errors.Join(fmt.Errorf("%s ended before it was ready", name), err, p.close())
		case <-time.After(startLimit):
			return nil, errors.Join(fmt.Errorf("%s is not ready after %v", name, startLimit), p.close())
		}
	}
}

func (p *process) hear(stdout io.Reader, tell func(message)) {
	defer close(p.read)
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var m message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			p.read <- fmt.Errorf("the driver says %.200q: %w", lines.Text(), err)
			return
		}
		if m.Type == "ready" {
			close(p.ready)
			continue
		}
		tell(m)
	}
}

func (p *process) do(c command) error {
	line, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode command: %w", err)
	}
	if _, err := p.stdin.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("tell the driver to %s: %w: %s", c.Do, err, p.said.String())
	}
	return nil
}

func (p *process) close() error {
	_ = p.stdin.Close() // a driver that is alive ends then
	kill := time.AfterFunc(10*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	heard := <-p.read
	if err := errors.Join(heard, p.cmd.Wait()); err != nil {
		return fmt.Errorf("driver: %w: %s", err, p.said.String())
	}
	return nil
}
