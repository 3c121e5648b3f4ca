package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/codewar/socketbridge/e2e/procs"
)

// network is the connections between the processes of a row. Each server is reached
// through a gate of its own: the address that clients are configured with, and that servers
// announce of themselves. A gate knows which process has dialled it, so traffic between any
// two processes can be delayed, held or cut while both stay reachable for all others. What
// the judge itself does goes past the gates.
//
// Safe for concurrent use.
type network struct {
	direct  bool           // without gates, since nothing will happen on the way: set before use
	running sync.WaitGroup // accept and wires

	mu      sync.Mutex // guards all below
	parts   []*procs.Process
	gates   []net.Listener
	wires   map[*wire]struct{}
	faults  map[link]traffic
	changed chan struct{} // closed, and replaced, when faults change
	closed  bool
}

// link is the connections that processes of one name dial to processes of another. A name
// stands for all that begin with it: "nats" is every NATS server.
type link struct{ from, to string }

// traffic is what a fault does to a link.
type traffic struct {
	cut        bool          // connections are reset, new ones too
	mute, deaf bool          // nothing passes from the dialling side, or to it; it passes later
	delay      time.Duration // each way
}

func newNetwork() *network {
	return &network{wires: make(map[*wire]struct{}), faults: make(map[link]traffic), changed: make(chan struct{})}
}

// add makes a process known by its name.
func (n *network) add(p *procs.Process) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.parts = append(n.parts, p)
}

// gate opens a way to a server's address and returns its own.
func (n *network) gate(to, target string) (addr string, err error) {
	if n.direct {
		return target, nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("open gate: %w", err)
	}
	n.mu.Lock()
	n.gates = append(n.gates, l)
	n.mu.Unlock()
	n.running.Go(func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				n.running.Go(func() { n.carry(c.(*net.TCPConn), to, target) })
			}
		}
	})
	return l.Addr().String(), nil
}

// fault sets what happens on a link, until heal.
func (n *network) fault(l link, t traffic) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults[l] = t
	n.announce()
}

func (n *network) heal(l link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.faults, l)
	n.announce()
}

// announce has every wire look at its faults again. Called with mu held.
func (n *network) announce() {
	close(n.changed)
	n.changed = make(chan struct{})
	for w := range n.wires {
		if n.on(w.link).cut {
			w.reset()
		}
	}
}

// on is what happens on a link now. Called with mu held.
func (n *network) on(l link) (t traffic) {
	for f, s := range n.faults {
		if strings.HasPrefix(l.from, f.from) && strings.HasPrefix(l.to, f.to) {
			t.cut, t.mute, t.deaf, t.delay = t.cut || s.cut, t.mute || s.mute, t.deaf || s.deaf, max(t.delay, s.delay)
		}
	}
	return t
}

// now is what happens on a link, and a channel that is closed when that changes.
func (n *network) now(l link) (traffic, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.on(l), n.changed
}

func (n *network) close() {
	n.mu.Lock()
	n.closed = true
	for _, l := range n.gates {
		_ = l.Close()
	}
	for w := range n.wires {
		w.reset()
	}
	n.mu.Unlock()
	n.running.Wait()
}

// wire is one connection through a gate.
type wire struct {
	link
	client, server *net.TCPConn
	once           sync.Once
	ended          chan struct{} // closed when both ends are
}

// end closes both ends.
func (w *wire) end() {
	w.once.Do(func() {
		close(w.ended)
		_ = w.client.Close()
		_ = w.server.Close()
	})
}

// reset ends a connection as a firewall that refuses it does.
func (w *wire) reset() {
	_ = w.client.SetLinger(0)
	_ = w.server.SetLinger(0)
	w.end()
}

// carry joins a connection with its server until one of them goes.
func (n *network) carry(client *net.TCPConn, to, target string) {
	l := link{n.dialler(client), to}
	if t, _ := n.now(l); t.cut {
		_ = client.SetLinger(0)
		_ = client.Close()
		return
	}
	server, err := net.DialTimeout("tcp", target, time.Second)
	if err != nil {
		_ = client.SetLinger(0) // the server refuses, so does the gate
		_ = client.Close()
		return
	}
	w := &wire{link: l, client: client, server: server.(*net.TCPConn), ended: make(chan struct{})}
	defer w.end()
	n.mu.Lock()
	if n.closed || n.on(l).cut {
		n.mu.Unlock()
		w.reset()
		return
	}
	n.wires[w] = struct{}{}
	n.mu.Unlock()
	var up sync.WaitGroup
	up.Go(func() { n.pump(w, w.server, w.client, func(t traffic) bool { return t.mute }) })
	n.pump(w, w.client, w.server, func(t traffic) bool { return t.deaf })
	up.Wait()
	n.mu.Lock()
	delete(n.wires, w)
	n.mu.Unlock()
}

// chunk is bytes on their way.
type chunk struct {
	bytes []byte
	at    time.Time
}

// pump copies one direction of a wire, and its end too, as late as the faults say.
func (n *network) pump(w *wire, to io.Writer, from io.Reader, held func(traffic) bool) {
	defer w.end()
	const under = 64 // chunks on their way
	chunks := make(chan chunk, under)
	var reading sync.WaitGroup
	defer reading.Wait()
	reading.Go(func() {
		defer close(chunks)
		for {
			b := make([]byte, 16<<10)
			size, err := from.Read(b)
			if err != nil {
				return
			}
			select {
			case chunks <- chunk{b[:size], time.Now()}:
			case <-w.ended:
				return
			}
		}
	})
	for c := range chunks {
		if !n.pass(w, c.at, held) {
			break
		}
		if _, err := to.Write(c.bytes); err != nil {
			break
		}
	}
	n.pass(w, time.Now(), held)
	w.end() // which ends the reading
}

// pass waits until what was sent then may arrive. It is false when the wire ends before.
func (n *network) pass(w *wire, sent time.Time, held func(traffic) bool) bool {
	for {
		t, changed := n.now(w.link)
		var late <-chan time.Time
		if !held(t) {
			wait := time.Until(sent.Add(t.delay))
			if wait <= 0 {
				return true
			}
			late = time.After(wait)
		}
		select {
		case <-late:
		case <-changed:
		case <-w.ended:
			return false
		}
	}
}

// dialler is the name of the process that has opened a connection, "" when it is none of
// the row's: the kernel knows which socket has the other end's address, and whose that is.
func (n *network) dialler(c net.Conn) string {
	inode := inodeOf(c.RemoteAddr().(*net.TCPAddr), c.LocalAddr().(*net.TCPAddr))
	if inode == "" {
		return ""
	}
	n.mu.Lock()
	parts := n.parts[:len(n.parts):len(n.parts)]
	n.mu.Unlock()
	for _, p := range parts {
		files, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(p.PID()), "fd", "*"))
		if err != nil {
			continue
		}
		for _, f := range files {
			if target, err := os.Readlink(f); err == nil && target == "socket:["+inode+"]" {
				return p.Name
			}
		}
	}
	return ""
}

// inodeOf is the number of the socket on this machine that has these two addresses.
func inodeOf(local, remote *net.TCPAddr) string {
	table, err := os.Open("/proc/net/tcp")
	if err != nil {
		return ""
	}
	defer func() { _ = table.Close() }()
	// 127.0.0.1 as the kernel writes it.
	ends := fmt.Sprintf(" 0100007F:%04X 0100007F:%04X ", local.Port, remote.Port)
	for s := bufio.NewScanner(table); s.Scan(); {
		if strings.Contains(s.Text(), ends) {
			const inodeField = 9
			if fields := strings.Fields(s.Text()); len(fields) > inodeField {
				return fields[inodeField]
			}
		}
	}
	return ""
}
