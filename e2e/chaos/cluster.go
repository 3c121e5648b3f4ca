package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// startLimit is how long a process may take until it serves.
const startLimit = 30 * time.Second

// cluster is the servers of one row.
type cluster struct {
	dir      string
	nats     *process
	natsURL  string
	redis    *process
	bridges  []*bridgeNode
	balancer *balancer
}

// bridgeNode is one bridge; it keeps its address and its name over restarts.
type bridgeNode struct {
	*process
	addr string
}

// startCluster starts everything. On an error the caller still has to kill what
// was started.
func startCluster(dir string, bin binaries, r *row) (c *cluster, err error) {
	c = &cluster{dir: dir}
	if err := c.startNATS(bin.nats); err != nil {
		return c, err
	}
	redisAddr, err := c.startRedis(r.redis)
	if err != nil {
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

func (c *cluster) startNATS(path string) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	c.natsURL = "nats://127.0.0.1:" + port
	c.nats = &process{
		name: "nats", path: path, dir: c.dir, env: environment(),
		args: []string{"-js", "-a", "127.0.0.1", "-p", port, "-sd", filepath.Join(c.dir, "jetstream")},
	}
	if err := c.nats.start(); err != nil {
		return err
	}
	return listening(c.nats, "127.0.0.1:"+port)
}

func (c *cluster) startRedis(args []string) (addr string, err error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return "", fmt.Errorf("find redis-server: %w", err)
	}
	port, err := freePort()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(c.redisDir(), 0o700); err != nil {
		return "", fmt.Errorf("make directory of redis: %w", err)
	}
	c.redis = &process{
		name: "redis", path: path, dir: c.dir, env: environment(),
		args: append([]string{"--bind", "127.0.0.1", "--port", port, "--dir", c.redisDir(), "--save", ""}, args...),
	}
	if err := c.redis.start(); err != nil {
		return "", err
	}
	addr = "127.0.0.1:" + port
	return addr, listening(c.redis, addr)
}

func (c *cluster) redisDir() string { return filepath.Join(c.dir, "redis") }

func (c *cluster) addBridge(path, id string, env []string) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	n := &bridgeNode{addr: "127.0.0.1:" + port, process: &process{
		name: "bridge-" + id, path: path, dir: c.dir,
		env: environment(append([]string{"HTTP_ADDR=127.0.0.1:" + port, "NODE_ID=" + id}, env...)...),
	}}
	c.bridges = append(c.bridges, n)
	if err := n.start(); err != nil {
		return err
	}
	return n.ready()
}

// ready waits until the bridge says that it can serve.
func (n *bridgeNode) ready() error {
	return waitFor(n.name+" is ready", startLimit, func() string {
		if !n.alive() {
			return "it has ended, see " + n.logFile()
		}
		status, body := fetch(n.addr, "/readyz")
		if status == http.StatusOK {
			return ""
		}
		return body
	})
}

func listening(p *process, addr string) error {
	return waitFor(p.name+" listens", startLimit, func() string {
		if !p.alive() {
			return "it has ended, see " + p.logFile()
		}
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return err.Error()
		}
		_ = c.Close()
		return ""
	})
}

// leader returns the bridge that reads the stream, and another one.
func (c *cluster) leader() (leader, other *bridgeNode, err error) {
	err = waitFor("somebody leads", startLimit, func() string {
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
		errs = append(errs, n.stop(), n.raced())
	}
	return errors.Join(errs...)
}

// kill ends what still runs.
func (c *cluster) kill() {
	if c.balancer != nil {
		c.balancer.close()
	}
	for _, n := range c.bridges {
		n.kill()
	}
	for _, p := range []*process{c.redis, c.nats} {
		if p != nil {
			p.kill()
		}
	}
}
