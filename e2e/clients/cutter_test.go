package clients

import (
	"io"
	"net"
	"sync"
)

// cutter is a TCP proxy between a client and a server. It can cut the connections and
// refuse new ones, as a network that fails. Safe for concurrent use.
type cutter struct {
	url      string
	target   string
	listener net.Listener
	work     sync.WaitGroup

	mu    sync.Mutex // guards what follows
	down  bool
	conns map[net.Conn]bool
}

func newCutter(target string) (*cutter, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &cutter{url: "http://" + l.Addr().String(), target: target, listener: l, conns: make(map[net.Conn]bool)}
	c.work.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.work.Go(func() { c.serve(conn) })
		}
	})
	return c, nil
}

// cut closes every connection and lets none through until restore.
func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = true
	for conn := range c.conns {
		_ = conn.Close()
	}
}

func (c *cutter) restore() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = false
}

// close ends the proxy and its connections.
func (c *cutter) close() {
	_ = c.listener.Close()
	c.cut()
	c.work.Wait()
}

// add takes a connection in, unless the network is down.
func (c *cutter) add(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down {
		return false
	}
	c.conns[conn] = true
	return true
}

func (c *cutter) remove(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, conn)
}

func (c *cutter) serve(client net.Conn) {
	defer client.Close()
	if !c.add(client) {
		return
	}
	defer c.remove(client)
	server, err := net.Dial("tcp", c.target)
	if err != nil {
		return
	}
	defer server.Close()
	if !c.add(server) {
		return
	}
	defer c.remove(server)
	c.work.Go(func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
		_ = client.Close()
	})
	_, _ = io.Copy(client, server)
}
