package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"github.com/codewar/socketbridge/e2e/procs"
)

// errRace means that a bridge built with the race detector has found one.
var errRace = errors.New("data race")

// cluster is the servers of one row.
type cluster struct {
	dir      string
	network  *network
	nats     natsServers // none: the bridge's own
	natsURL  string      // past the gates
	redis    *redisServers
	env      []string // of every bridge
	bridges  []*bridgeNode
	balancer *balancer
	disk     string // to be unmounted; may be empty
}

// embeddedDir is where a bridge with its own NATS server keeps its streams.
func (c *cluster) embeddedDir() string { return filepath.Join(c.dir, "data") }

// bridgeNode is one bridge; it keeps its address and its name over restarts.
type bridgeNode struct {
	*procs.Process
	addr string
	ops  string // of its operators' listener
}

// addBridge makes one more bridge, not started.
func (c *cluster) addBridge(path, id string) (*bridgeNode, error) {
	port, err := procs.FreePort()
	if err != nil {
		return nil, err
	}
	opsPort, err := procs.FreePort()
	if err != nil {
		return nil, err
	}
	n := &bridgeNode{addr: "127.0.0.1:" + port, ops: "127.0.0.1:" + opsPort, Process: &procs.Process{
		Name: "bridge-" + id, Path: path, Dir: c.dir,
		Env: procs.Environment(append([]string{"HTTP_ADDR=127.0.0.1:" + port, "OPS_ADDR=127.0.0.1:" + opsPort, "NODE_ID=" + id}, c.env...)...),
	}}
	c.network.add(n.Process)
	return n, nil
}

// ready waits until the bridge says that it can serve.
func (n *bridgeNode) ready() error {
	return procs.WaitFor(n.Name+" is ready", procs.StartLimit, func() string {
		if !n.Alive() {
			return "it has ended, see " + n.LogFile()
		}
		status, body := fetch(n.addr, "/readyz")
		if status == http.StatusOK {
			return ""
		}
		return body
	})
}

// raced looks for the race detector's word in the log.
func (n *bridgeNode) raced() error {
	log, err := os.ReadFile(n.LogFile())
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	if bytes.Contains(log, []byte("DATA RACE")) {
		return fmt.Errorf("%w in %s: see %s", errRace, n.Name, n.LogFile())
	}
	return nil
}

// leader returns the bridge that reads the stream, and another one.
func (c *cluster) leader() (leader, other *bridgeNode, err error) {
	err = procs.WaitFor("somebody leads", procs.StartLimit, func() string {
		for i, n := range c.bridges {
			if n.metrics()["bridge_leader"] == 1 {
				leader, other = n, c.bridges[(i+1)%len(c.bridges)]
				return ""
			}
		}
		return "nobody does"
	})
	return leader, other, err
}

// stop ends the bridges as a deploy does, and says what went wrong.
func (c *cluster) stop() error {
	var errs []error
	for _, n := range c.bridges {
		errs = append(errs, n.Stop(), n.raced())
	}
	return errors.Join(errs...)
}

// kill ends what still runs.
func (c *cluster) kill() {
	if c.balancer != nil {
		c.balancer.close()
	}
	for _, n := range c.bridges {
		n.Kill()
	}
	if c.redis != nil {
		c.redis.kill()
	}
	for _, n := range c.nats {
		n.Kill()
	}
	c.network.close()
	if c.disk != "" {
		unmountDisk(c.disk)
	}
}
