package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/codewar/socketbridge/e2e/procs"
)

// errRace means that a bridge built with the race detector has found one.
var errRace = errors.New("data race")

// cluster is the servers of one row.
type cluster struct {
	dir      string
	nats     *procs.Process
	natsURL  string
	redis    *procs.Process
	bridges  []*bridgeNode
	balancer *balancer
}

// bridgeNode is one bridge; it keeps its address and its name over restarts.
type bridgeNode struct {
	*procs.Process
	addr string
	ops  string // of its operators' listener
}

// startCluster starts everything. On an error the caller still has to kill what
// was started.
func startCluster(dir string, bin binaries, r *row) (c *cluster, err error) {
	c = &cluster{dir: dir}
	if c.nats, c.natsURL, err = procs.StartNATS(dir, bin.nats); err != nil {
		return c, err
	}
	var redisAddr string
	if c.redis, redisAddr, err = procs.StartRedis(dir, r.redis...); err != nil {
		return c, err
	}
	env := append([]string{
		"NATS_URL=" + c.natsURL, "REDIS_ADDRS=" + redisAddr,
		"HISTORY_MAX_PER_USER=100000", // the history is not what a row tests, unless it says so
		"NODE_ENV=test",
	}, r.env...)
	var addrs []string
	for _, id := range []string{"a", "b"} {
		if err := c.addBridge(bin.bridge, id, env); err != nil {
			return c, err
		}
		addrs = append(addrs, c.bridges[len(c.bridges)-1].addr)
	}
	c.balancer, err = openBalancer(addrs)
	return c, err
}

func (c *cluster) addBridge(path, id string, env []string) error {
	port, err := procs.FreePort()
	if err != nil {
		return err
	}
	opsPort, err := procs.FreePort()
	if err != nil {
		return err
	}
	n := &bridgeNode{addr: "127.0.0.1:" + port, ops: "127.0.0.1:" + opsPort, Process: &procs.Process{
		Name: "bridge-" + id, Path: path, Dir: c.dir,
		Env: procs.Environment(append([]string{"HTTP_ADDR=127.0.0.1:" + port, "OPS_ADDR=127.0.0.1:" + opsPort, "NODE_ID=" + id}, env...)...),
	}}
	c.bridges = append(c.bridges, n)
	if err := n.Start(); err != nil {
		return err
	}
	return n.ready()
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
	for _, p := range []*procs.Process{c.redis, c.nats} {
		if p != nil {
			p.Kill()
		}
	}
}
