package main

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/codewar/socketbridge/e2e/procs"
)

//go:embed stock.js
var stockScript string

// stockPages are the pages of a node process.
type stockPages struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	heard  chan stockWord // closed when the process has said its last
	counts map[int]int    // by page, as of the last ask
}

// stockWord is one line of the driver.
type stockWord struct {
	Type   string      `json:"type"` // ready, counts, report, end
	Page   int         `json:"page"`
	Counts map[int]int `json:"counts"`
	Report report      `json:"report"`
}

// startStock runs the driver; modules is the directory that holds node_modules.
func startStock(dir, modules string) (*stockPages, error) {
	file := filepath.Join(dir, "stock.js")
	if err := os.WriteFile(file, []byte(stockScript), 0o600); err != nil {
		return nil, fmt.Errorf("write driver: %w", err)
	}
	log, err := os.Create(filepath.Join(dir, "stock.log"))
	if err != nil {
		return nil, fmt.Errorf("open log of node: %w", err)
	}
	defer func() { _ = log.Close() }()
	s := &stockPages{cmd: exec.Command("node", file, modules), heard: make(chan stockWord, 1024)}
	s.cmd.Stderr = log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err1 := s.cmd.StdoutPipe()
	stdin, err2 := s.cmd.StdinPipe()
	if err := errors.Join(err1, err2, s.cmd.Start()); err != nil {
		return nil, fmt.Errorf("start node: %w", err)
	}
	s.stdin = stdin
	go s.read(stdout) // ends with the process
	return s, nil
}

func (s *stockPages) read(stdout io.Reader) {
	defer close(s.heard)
	in := json.NewDecoder(bufio.NewReaderSize(stdout, 1<<20))
	for {
		var w stockWord
		if in.Decode(&w) != nil {
			return
		}
		s.heard <- w
	}
}

func (s *stockPages) say(command map[string]any) error {
	line, err := json.Marshal(command)
	if err != nil {
		return fmt.Errorf("encode command: %w", err)
	}
	if _, err := s.stdin.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("tell node: %w", err)
	}
	return nil
}

// stockPage is one page to open.
type stockPage struct {
	number                int
	user, addr, transport string
}

// open opens pages and waits until each is mapped to its user.
func (s *stockPages) open(pages []stockPage, options map[string]any) error {
	for _, p := range pages {
		own := map[string]any{"transports": []string{p.transport}}
		maps.Copy(own, options)
		err := s.say(map[string]any{"do": "open", "page": p.number, "user": p.user, "url": "http://" + p.addr, "options": own})
		if err != nil {
			return err
		}
	}
	for n := 0; n < len(pages); {
		w, err := s.hear()
		if err != nil {
			return err
		}
		if w.Type == "ready" {
			n++
		}
	}
	return nil
}

// hear waits for the driver's next word.
func (s *stockPages) hear() (stockWord, error) {
	select {
	case w, ok := <-s.heard:
		if !ok {
			return w, errors.New("node has ended")
		}
		return w, nil
	case <-time.After(procs.StartLimit):
		return stockWord{}, errors.New("node is silent")
	}
}

// count asks how many messages each page has.
func (s *stockPages) count() error {
	if err := s.say(map[string]any{"do": "counts"}); err != nil {
		return err
	}
	for {
		w, err := s.hear()
		if err != nil {
			return err
		}
		if w.Type == "counts" {
			s.counts = w.Counts
			return nil
		}
	}
}

// reports closes the pages and returns what they saw.
func (s *stockPages) reports() (all []report, err error) {
	if err := s.say(map[string]any{"do": "report"}); err != nil {
		return nil, err
	}
	for {
		w, err := s.hear()
		switch {
		case err != nil:
			return nil, err
		case w.Type == "report":
			all = append(all, w.Report)
		case w.Type == "end":
			return all, nil
		}
	}
}

// close ends the process.
func (s *stockPages) close() {
	_ = s.stdin.Close() // the driver exits
	for range s.heard {
	}
	_ = s.cmd.Wait()
}
