package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/codewar/socketbridge/e2e/procs"
)

// topology says which servers a row runs on, and how many bridges.
type topology struct {
	name    string
	nats    int        // servers; 0: the bridge's own
	redis   redisStart // nil: the bridge's memory
	bridges int
	direct  bool     // no gates: none of its rows has a fault of the network
	needs   []string // programs, beside redis-server
	disk    int      // bytes of the one that NATS has for itself; 0: it has none
}

var (
	plain     = topology{name: "one NATS, one Redis, two bridges", nats: 1, redis: oneRedis("redis-server"), bridges: 2, direct: true}
	wide      = topology{name: "one NATS, one Redis, four bridges", nats: 1, redis: oneRedis("redis-server"), bridges: 4}
	loaded    = topology{name: "one NATS, one Redis, four bridges", nats: 1, redis: oneRedis("redis-server"), bridges: 4, direct: true}
	quorum    = topology{name: "three NATS servers, one Redis, four bridges", nats: 3, redis: oneRedis("redis-server"), bridges: 4}
	sentinels = topology{name: "one NATS, Redis with two replicas and Sentinels, four bridges", nats: 1, redis: sentinelRedis, bridges: 4}
	sharded   = topology{name: "one NATS, Redis Cluster of three masters and three replicas, four bridges", nats: 1, redis: clusterRedis, bridges: 4, needs: []string{"redis-cli"}}
	full      = topology{name: "three NATS servers, Redis Cluster, four bridges", nats: 3, redis: clusterRedis, bridges: 4, needs: []string{"redis-cli"}}
	valkey    = topology{name: "one NATS, one Valkey, four bridges", nats: 1, redis: oneRedis("valkey-server"), bridges: 4, needs: []string{"valkey-server"}}
	embedded  = topology{name: "one bridge with nothing beside it", bridges: 1}
)

// missing is a program that the topology needs and that is not installed.
func (t topology) missing() string {
	for _, program := range append([]string{"redis-server", "node"}, t.needs...) {
		if _, err := exec.LookPath(program); err != nil {
			return program
		}
	}
	if t.disk > 0 && os.Getuid() != 0 {
		return "what only root may do"
	}
	return ""
}

// start starts everything but the balancer. On an error the caller still has to kill what
// was started.
func (t topology) start(dir string, bin binaries, r *row) (c *cluster, err error) {
	c = &cluster{dir: dir, network: newNetwork()}
	c.network.direct = t.direct
	env := []string{
		"HISTORY_MAX_PER_USER=100000", // the history is not what a row tests, unless it says so
		"NODE_ENV=test",
	}
	if t.disk > 0 {
		c.disk = filepath.Join(dir, natsName(0))
		if err := mountDisk(c.disk, t.disk); err != nil {
			return c, err
		}
	}
	if t.nats > 0 {
		if c.nats, err = startNATS(dir, bin.nats, t.nats, c.network); err != nil {
			return c, err
		}
		c.natsURL = c.nats.urls()
		env = append(env, "NATS_URL="+c.nats.gates(), "NATS_STREAM_REPLICAS="+strconv.Itoa(t.nats))
	} else {
		port, err := procs.FreePort()
		if err != nil {
			return c, err
		}
		c.natsURL = "nats://127.0.0.1:" + port
		env = append(env, "NATS_EMBEDDED_ADDR=127.0.0.1:"+port, "NATS_EMBEDDED_STORE_DIR="+c.embeddedDir())
	}
	if t.redis != nil {
		if c.redis, err = t.redis(dir, c.network, r.redis); err != nil {
			return c, err
		}
		env = append(env, c.redis.env...)
	}
	c.env = append(env, r.env...)
	for i := range t.bridges {
		n, err := c.addBridge(bin.bridge, string(rune('a'+i)))
		if err != nil {
			return c, err
		}
		c.bridges = append(c.bridges, n)
		if err := n.Start(); err != nil {
			return c, err
		}
	}
	var errs []error
	for _, n := range c.bridges {
		errs = append(errs, n.ready())
	}
	if r.twin {
		n, err := c.addBridge(bin.bridge, "b")
		if err != nil {
			return c, err
		}
		n.Name += "-twin"
		c.bridges = append(c.bridges, n)
	}
	return c, errors.Join(errs...)
}
