package observe

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"

	"github.com/codewar/socketbridge/e2e/procs"
)

// cluster is NATS, Redis, two bridges and what goes on on them.
type cluster struct {
	dir     string
	nats    *procs.Process
	redis   *procs.Process
	bridges [2]*node
	pages   []*page

	bus   *nats.Conn
	store *redis.Client
	load  context.Context
	tasks sync.WaitGroup // of load
}

// node is one bridge. Its operators' listener speaks plain HTTP also when the other
// one has a certificate.
type node struct {
	*procs.Process
	addr, ops string
}

// users is how many have pages, one on each node.
const users = 20

func startCluster(t *testing.T) *cluster {
	t.Helper()
	dir, err := os.MkdirTemp("", "bridge-observe-") //nolint:usetesting // the logs stay when it fails
	must(t, err)
	t.Logf("logs in %s", dir)
	c := &cluster{dir: dir}
	bridge, err := procs.BuildBridge(t.Context(), dir)
	must(t, err)
	server, err := procs.BuildNATS(t.Context(), dir)
	must(t, err)
	t.Cleanup(func() {
		c.kill()
		if !t.Failed() {
			_ = os.RemoveAll(dir)
		}
	})
	var natsURL, redisAddr string
	c.nats, natsURL, err = procs.StartNATS(dir, server)
	must(t, err)
	c.redis, redisAddr, err = procs.StartRedis(dir)
	must(t, err)
	for i, id := range []string{"a", "b"} {
		c.bridges[i] = newNode(t, dir, bridge, id, "NATS_URL="+natsURL, "REDIS_ADDRS="+redisAddr)
		must(t, c.bridges[i].Start())
	}
	for _, n := range c.bridges {
		must(t, n.ready())
	}
	c.bus, err = nats.Connect(natsURL, nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))
	must(t, err)
	c.store = redis.NewClient(&redis.Options{Addr: redisAddr, Protocol: 2, DisableIdentity: true})
	return c
}

func newNode(t *testing.T, dir, path, id string, env ...string) *node {
	t.Helper()
	public, err := procs.FreePort()
	must(t, err)
	operators, err := procs.FreePort()
	must(t, err)
	n := &node{addr: "127.0.0.1:" + public, ops: "127.0.0.1:" + operators}
	n.Process = &procs.Process{
		Name: "bridge-" + id, Path: path, Dir: dir,
		Env: procs.Environment(append(env,
			"HTTP_ADDR="+n.addr, "OPS_ADDR="+n.ops, "NODE_ID="+id,
			// Limits that a test reaches within seconds.
			"HTTP_REPLY_TIMEOUT=1s", "HTTP_MAX_BODY=65536", "SOCKETS_MAX_PENDING=65536", "SOCKETS_WRITE_TIMEOUT=1s",
			"HTTP_TRUSTED_PROXIES=127.0.0.0/8", "SOCKETS_CONNECTS_PER_SECOND=5", "SOCKETS_CONNECT_BURST=5",
			"DRAIN_DURATION=0s", "LOG_LEVEL=warn",
		)...),
	}
	return n
}

func (n *node) ready() error {
	return procs.WaitFor(n.Name+" is ready", procs.StartLimit, func() string {
		if !n.Alive() {
			return "it has ended, see " + n.LogFile()
		}
		return refusal("http://" + n.ops + "/readyz")
	})
}

// metric reads one of the node's metrics, labels and all; zero when it is not there.
func (n *node) metric(name string) float64 {
	res, err := asking.Get("http://" + n.ops + "/metrics")
	if err != nil {
		return 0
	}
	defer func() { _ = res.Body.Close() }()
	for s := bufio.NewScanner(res.Body); s.Scan(); {
		if value, ok := strings.CutPrefix(s.Text(), name+" "); ok {
			f, _ := strconv.ParseFloat(value, 64)
			return f
		}
	}
	return 0
}

// work opens the pages and has messages sent to them, from NATS and over HTTP, until ctx ends.
func (c *cluster) work(ctx context.Context) {
	c.load = ctx
	for i := range 2 * users {
		p := &page{addr: c.bridges[i%2].addr, user: user(i / 2)}
		c.pages = append(c.pages, p)
		c.tasks.Go(func() { p.run(ctx) })
	}
	c.tasks.Go(func() {
		every(ctx, 10*time.Millisecond, func() { c.publish("submissionUpdate", user(rand.N(users+2)), "") })
	})
	for _, n := range c.bridges {
		c.tasks.Go(func() { every(ctx, 100*time.Millisecond, func() { n.send(user(rand.N(users))) }) })
	}
}

func user(i int) string { return fmt.Sprintf("user_%d", i) }

func every(ctx context.Context, d time.Duration, do func()) {
	for tick := time.NewTicker(d); ; {
		select {
		case <-tick.C:
			do()
		case <-ctx.Done():
			tick.Stop()
			return
		}
	}
}

// publish sends one message; it is lost while NATS is away, as those of plain publishers are.
func (c *cluster) publish(topic, user, filler string) {
	_ = c.bus.Publish("codewar."+topic, fmt.Appendf(nil, `{"userId":%q,"status":"IN_PROGRESS","text":%q}`, user, filler))
}

// send calls /sendPayload; the metrics tell how that ended.
func (n *node) send(user string) {
	res, err := asking.Post("http://"+n.addr+"/sendPayload", "application/json",
		strings.NewReader(fmt.Sprintf(`{"userId":%q,"topic":"submissionUpdate"}`, user)))
	if err == nil {
		_ = res.Body.Close()
	}
}

// stream is the stream of messages.
func (c *cluster) stream(t *testing.T) jetstream.Stream {
	t.Helper()
	js, err := jetstream.New(c.bus)
	must(t, err)
	s, err := js.Stream(t.Context(), "CODEWAR")
	must(t, err)
	return s
}

// fillRedis leaves Redis some 15 MB of the memory that it may use.
func (c *cluster) fillRedis(t *testing.T) {
	t.Helper()
	c.say(t, "setrange", "filler", 100<<20, "x")
	info, err := c.store.Info(t.Context(), "memory").Result()
	must(t, err)
	_, rest, _ := strings.Cut(info, "used_memory:")
	var used int
	_, err = fmt.Sscan(rest, &used)
	must(t, err)
	c.say(t, "config", "set", "maxmemory", used*100/87)
}

// say sends Redis a command.
func (c *cluster) say(t *testing.T, command ...any) {
	t.Helper()
	must(t, c.store.Do(t.Context(), command...).Err())
}

func (c *cluster) kill() {
	if c.bus != nil {
		c.bus.Close()
	}
	if c.store != nil {
		_ = c.store.Close()
	}
	for _, n := range c.bridges {
		if n != nil {
			n.Kill()
		}
	}
	for _, p := range []*procs.Process{c.redis, c.nats} {
		if p != nil {
			p.Kill()
		}
	}
}
