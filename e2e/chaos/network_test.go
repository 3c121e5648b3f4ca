package main

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/codewar/socketbridge/e2e/procs"
)

// echo is a server behind a gate, and a network that knows two diallers, each of them a
// process that sends a line every 20 ms to the gate and writes what comes back to its log.
func echo(t *testing.T) (n *network, diallers [2]*procs.Process) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n = newNetwork()
	gate, err := n.gate("server-1", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	dir := t.TempDir()
	_, port, _ := net.SplitHostPort(gate)
	for i, name := range []string{"a", "b"} {
		p := &procs.Process{
			Name: "dialler-" + name, Path: "/bin/bash", Dir: dir, Env: procs.Environment(),
			Args: []string{"-c", "exec 3<>/dev/tcp/127.0.0.1/" + port + "; cat <&3 & while echo line >&3; do sleep 0.02; done; wait"},
		}
		n.add(p)
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		diallers[i] = p
	}
	t.Cleanup(func() {
		for _, p := range diallers {
			p.Kill()
		}
		n.close()
		_ = l.Close()
		<-done
	})
	return n, diallers
}

// lines is how many have come back.
func lines(p *procs.Process) int {
	text, _ := os.ReadFile(p.LogFile())
	return strings.Count(string(text), "line\n")
}

// flows waits until so many more lines have come back.
func flows(t *testing.T, p *procs.Process) {
	t.Helper()
	before := lines(p)
	if err := procs.WaitFor("lines come back to "+p.Name, procs.StartLimit, func() string {
		if lines(p) < before+5 {
			return "they do not"
		}
		return ""
	}); err != nil {
		t.Error(err)
	}
}

// TestFaultsStrikeOneDialler: what is done to the link of one process is not done to another's.
func TestFaultsStrikeOneDialler(t *testing.T) {
	t.Parallel()
	n, diallers := echo(t)
	a, b := diallers[0], diallers[1]
	flows(t, a)
	flows(t, b)
	for name, f := range map[string]traffic{"apart": apart, "deaf": deaf, "mute": mute} {
		l := link{a.Name, "server"}
		n.fault(l, f)
		flows(t, b) // what was on its way to a has arrived
		before := lines(a)
		flows(t, b)
		if after := lines(a); after != before {
			t.Errorf("%s: %d lines, then %d", name, before, after)
		}
		n.heal(l)
		flows(t, a)
	}
	n.fault(link{a.Name, "server"}, reset)
	flows(t, b)
	if err := procs.WaitFor("the dialler that was cut ends", procs.StartLimit, func() string {
		if a.Alive() {
			return "it lives"
		}
		return ""
	}); err != nil {
		t.Error(err)
	}
}

// TestDelay: each way takes as long as the fault says, and the order stays.
func TestDelay(t *testing.T) {
	t.Parallel()
	n := newNetwork()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gate, err := n.gate("server", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	client, err := net.Dial("tcp", gate)
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	const delay = 50 * time.Millisecond
	n.fault(link{}, traffic{delay: delay})
	began := time.Now()
	for _, write := range []net.Conn{client, server} {
		read := server
		if write == server {
			read = client
		}
		for _, text := range []string{"one", "two"} {
			if _, err := write.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		b := make([]byte, 6)
		if _, err := io.ReadFull(read, b); err != nil || string(b) != "onetwo" {
			t.Fatalf("%q, %v", b, err)
		}
	}
	if took := time.Since(began); took < 2*delay {
		t.Errorf("both ways took %v", took)
	}
	n.fault(link{}, reset)
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
		t.Errorf("cut: %v", err)
	}
	again, err := net.Dial("tcp", gate)
	if err == nil {
		_, err = again.Read(make([]byte, 1))
		_ = again.Close()
	}
	if err == nil {
		t.Error("a new connection was not refused")
	}
	_, _ = client.Close(), server.Close()
	_ = l.Close()
	n.close()
}
