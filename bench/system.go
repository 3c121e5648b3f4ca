package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/codewar/socketbridge/e2e/procs"
)

// The servers that are measured.
const (
	bridge = "bridge"
	peer   = "peer"
	// leastServer is none of them: a program that does the least (floor.go).
	leastServer = "the least"
)

// programs are what was built.
type programs struct {
	bridge, nats string
	peer         string // the directory of its sources
}

func build(ctx context.Context, dir string) (p programs, err error) {
	root, err := procs.Root(ctx)
	if err != nil {
		return p, err
	}
	p.peer = filepath.Join(root, "bench", "peer")
	if p.bridge, err = procs.BuildBridge(ctx, dir, "-trimpath", "-ldflags", "-s -w"); err != nil {
		return p, err
	}
	p.nats, err = procs.BuildNATS(ctx, dir)
	return p, err
}

// system is one server under test with a NATS and a Redis of its own.
type system struct {
	name    string
	nats    *procs.Process
	redis   *procs.Process
	server  *procs.Process
	natsURL string
	port    int    // of the server
	ops     string // the address of the operators' routes; the peer has none
}

// startSystem starts everything. On an error the caller still has to stop what was started.
func startSystem(dir, name string, p programs) (s *system, err error) {
	s = &system{name: name}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return s, fmt.Errorf("make directory: %w", err)
	}
	if s.nats, s.natsURL, err = procs.StartNATS(dir, p.nats); err != nil {
		return s, err
	}
	var redisAddr string
	if s.redis, redisAddr, err = procs.StartRedis(dir, "--maxclients", "10000"); err != nil {
		return s, err
	}
	port, err := procs.FreePort()
	if err != nil {
		return s, err
	}
	if s.port, err = strconv.Atoi(port); err != nil {
		return s, fmt.Errorf("port: %w", err)
	}
	s.server = &procs.Process{Name: name, Dir: dir}
	if name == peer {
		host, redisPort, err := net.SplitHostPort(redisAddr)
		if err != nil {
			return s, fmt.Errorf("address of redis: %w", err)
		}
		if s.server.Path, err = exec.LookPath("node"); err != nil {
			return s, fmt.Errorf("find node: %w", err)
		}
		s.server.Args = []string{filepath.Join(p.peer, "server.js")}
		s.server.Env = procs.Environment("NODE_ENV=production", "PORT="+port, "NATS_URL="+s.natsURL, "REDIS_HOST="+host, "REDIS_PORT="+redisPort)
	} else {
		opsPort, err := procs.FreePort()
		if err != nil {
			return s, err
		}
		s.ops = "127.0.0.1:" + opsPort
		s.server.Path = p.bridge
		s.server.Env = procs.Environment(bridgeEnv("127.0.0.1:"+port, s.ops, s.natsURL, redisAddr)...)
	}
	if err := s.server.Start(); err != nil {
		return s, err
	}
	return s, s.ready()
}

// bridgeEnv is the bridge's configuration: its defaults, but for addresses. What limits clients by
// their address must be raised here, for here all of them are of this machine.
func bridgeEnv(addr, ops, nats, redis string) []string {
	return []string{"HTTP_ADDR=" + addr, "OPS_ADDR=" + ops, "OPS_PPROF=true", "NATS_URL=" + nats, "REDIS_ADDRS=" + redis, "LOG_LEVEL=info", "LOG_FORMAT=json"}
}

func (s *system) addr() string { return "127.0.0.1:" + strconv.Itoa(s.port) }

// asking keeps no connection, which would count among the server's.
var asking = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * time.Minute}

func (s *system) ready() error {
	addr := s.addr()
	if s.ops != "" {
		addr = s.ops
	}
	return procs.WaitFor(s.name+" is ready", procs.StartLimit, func() string {
		if !s.server.Alive() {
			return "it has ended, see " + s.server.LogFile()
		}
		res, err := asking.Get("http://" + addr + "/readyz")
		if err != nil {
			return err.Error()
		}
		defer func() { _ = res.Body.Close() }()
		_, _ = io.Copy(io.Discard, res.Body)
		if res.StatusCode != http.StatusOK {
			return res.Status
		}
		return ""
	})
}

// stop ends what runs, at once: the next repetition starts anew.
func (s *system) stop() {
	for _, p := range []*procs.Process{s.server, s.redis, s.nats} {
		if p != nil {
			p.Kill()
		}
	}
}

// cpu is processor time, by process and of the whole machine.
type cpu struct{ server, nats, redis, load, machine time.Duration }

func (c cpu) minus(d cpu) cpu {
	return cpu{c.server - d.server, c.nats - d.nats, c.redis - d.redis, c.load - d.load, c.machine - d.machine}
}

// others is what nobody here has used: when it is much, the figures are not worth much.
func (c cpu) others() time.Duration { return c.machine - c.server - c.nats - c.redis - c.load }

func (s *system) cpu() (c cpu, err error) {
	var errs [5]error
	c.server, errs[0] = cpuOf(s.server.PID())
	c.nats, errs[1] = cpuOf(s.nats.PID())
	c.redis, errs[2] = cpuOf(s.redis.PID())
	c.load, errs[3] = ownCPU()
	c.machine, errs[4] = machineCPU()
	return c, errors.Join(errs[:]...)
}

// goroutines is what the bridge says of itself.
func (s *system) goroutines() (int, error) {
	res, err := asking.Get("http://" + s.ops + "/metrics")
	if err != nil {
		return 0, fmt.Errorf("ask for metrics: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	for in := bufio.NewScanner(res.Body); in.Scan(); {
		if n, ok := strings.CutPrefix(in.Text(), "go_goroutines "); ok {
			return strconv.Atoi(n)
		}
	}
	return 0, errors.New("no go_goroutines among the metrics")
}

// profile writes one of the bridge's profiles to a file.
func (s *system) profile(ctx context.Context, what, file string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.ops+"/debug/pprof/"+what, nil)
	if err != nil {
		return fmt.Errorf("ask for profile: %w", err)
	}
	res, err := asking.Do(req)
	if err != nil {
		return fmt.Errorf("ask for profile: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("ask for profile %s: %s", what, res.Status)
	}
	f, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("write profile: %w", err)
	}
	_, err = io.Copy(f, res.Body)
	return errors.Join(err, f.Close())
}
