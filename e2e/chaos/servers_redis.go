package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/codewar/socketbridge/e2e/procs"
)

// What the client library logs when a server is away is of no use in the table.
func init() { logging.Disable() }

// redisServer is one redis-server, or Valkey's.
type redisServer struct {
	*procs.Process
	client *redis.Client // past its gate
	addr   string        // the same
	gate   string
}

// redisServers is how a row runs Redis.
type redisServers struct {
	all       []*redisServer
	sentinels []*redisServer
	env       []string // what bridges are told
	extra     []string // environment of the servers
}

// kill ends what still runs.
func (s *redisServers) kill() {
	for _, r := range append(s.sentinels, s.all...) {
		_ = r.client.Close()
		r.Kill()
	}
}

// masters are the servers that are masters now, by their own account.
func (s *redisServers) masters(ctx context.Context) (all []*redisServer) {
	for _, r := range s.all {
		if role(ctx, r) == "master" {
			all = append(all, r)
		}
	}
	return all
}

// replica is one that follows the master.
func (s *redisServers) replica(ctx context.Context, master *redisServer) (*redisServer, error) {
	_, masterPort, _ := strings.Cut(master.gate, ":")
	for _, r := range s.all {
		answer, err := r.client.Do(ctx, "ROLE").Slice()
		if err == nil && len(answer) > 2 && fmt.Sprint(answer[2]) == masterPort {
			return r, nil
		}
	}
	return nil, fmt.Errorf("%s has no replica", master.Name)
}

// role is master, slave or "".
func role(ctx context.Context, r *redisServer) string {
	answer, err := r.client.Do(ctx, "ROLE").Slice()
	if err != nil || len(answer) == 0 {
		return ""
	}
	return fmt.Sprint(answer[0])
}

// start starts the server again and waits until it takes connections.
func (r *redisServer) start() error {
	if err := r.Start(); err != nil {
		return err
	}
	return r.Listens(r.addr)
}

// redisStart starts Redis in one of the ways below. On an error the caller still has to
// kill what was started.
type redisStart func(dir string, net *network, args []string) (*redisServers, error)

// oneRedis is a single server.
func oneRedis(program string) redisStart {
	return func(dir string, net *network, args []string) (*redisServers, error) {
		s := &redisServers{}
		r, err := s.add(program, "redis", dir, net, args)
		if err != nil {
			return s, err
		}
		s.env = []string{"REDIS_ADDRS=" + r.gate}
		return s, nil
	}
}

// add starts one more server.
func (s *redisServers) add(program, name, dir string, net *network, args []string) (*redisServer, error) {
	port, err := procs.FreePort()
	if err != nil {
		return nil, err
	}
	r := &redisServer{addr: "127.0.0.1:" + port}
	if r.gate, err = net.gate(name, r.addr); err != nil {
		return nil, err
	}
	_, announced, _ := strings.Cut(r.gate, ":")
	args = append([]string{
		"--replica-announce-ip", "127.0.0.1", "--replica-announce-port", announced,
		"--cluster-announce-ip", "127.0.0.1", "--cluster-announce-port", announced,
		"--repl-diskless-sync-delay", "0",
	}, args...)
	if r.Process, err = procs.NewRedis(program, name, dir, port, args...); err != nil {
		return nil, err
	}
	r.Process.Env = append(r.Process.Env, s.extra...)
	net.add(r.Process)
	r.client = redis.NewClient(&redis.Options{Addr: r.addr, Protocol: 2, DisableIdentity: true})
	s.all = append(s.all, r)
	return r, r.start()
}

// sentinelName is what Sentinels call the master.
const sentinelName = "chaos"

// sentinelRedis is a master with two replicas, and three Sentinels.
func sentinelRedis(dir string, net *network, args []string) (*redisServers, error) {
	ctx := context.Background()
	s := &redisServers{}
	for i := range 3 {
		own := args
		if i > 0 {
			own = append([]string{"--replicaof", strings.Replace(s.all[0].gate, ":", " ", 1)}, args...)
		}
		if _, err := s.add("redis-server", fmt.Sprintf("redis-%d", i+1), dir, net, own); err != nil {
			return s, err
		}
	}
	err := procs.WaitFor("replicas have the master's data", procs.StartLimit, func() string {
		info, err := s.all[0].client.Info(ctx, "replication").Result()
		if err != nil {
			return err.Error()
		}
		if strings.Count(info, "state=online") < 2 {
			return info
		}
		return ""
	})
	if err != nil {
		return s, err
	}
	var addrs []string
	for i := range 3 {
		r, err := s.addSentinel(fmt.Sprintf("sentinel-%d", i+1), dir, net)
		if err != nil {
			return s, err
		}
		addrs = append(addrs, r.gate)
	}
	s.env = []string{"REDIS_ADDRS=" + strings.Join(addrs, ","), "REDIS_MASTER_NAME=" + sentinelName}
	for _, r := range s.sentinels {
		asking := redis.NewSentinelClient(&redis.Options{Addr: r.addr, Protocol: 2, DisableIdentity: true})
		defer func() { _ = asking.Close() }()
		err := procs.WaitFor(r.Name+" knows the others", procs.StartLimit, func() string {
			m, err := asking.Master(ctx, sentinelName).Result()
			switch {
			case err != nil:
				return err.Error()
			case m["num-slaves"] != "2" || m["num-other-sentinels"] != "2":
				return fmt.Sprintf("%s replicas, %s others", m["num-slaves"], m["num-other-sentinels"])
			}
			return ""
		})
		if err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *redisServers) addSentinel(name, dir string, net *network) (*redisServer, error) {
	port, err := procs.FreePort()
	if err != nil {
		return nil, err
	}
	r := &redisServer{addr: "127.0.0.1:" + port}
	if r.gate, err = net.gate(name, r.addr); err != nil {
		return nil, err
	}
	_, announced, _ := strings.Cut(r.gate, ":")
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, fmt.Errorf("find redis-server: %w", err)
	}
	// A Sentinel writes what it learns into its configuration.
	config := filepath.Join(dir, name+".conf")
	text := "bind 127.0.0.1\nport " + port + "\ndir " + dir +
		"\nsentinel announce-ip 127.0.0.1\nsentinel announce-port " + announced +
		"\nsentinel monitor " + sentinelName + " " + strings.Replace(s.all[0].gate, ":", " ", 1) + " 2" +
		"\nsentinel down-after-milliseconds " + sentinelName + " 2000" +
		"\nsentinel failover-timeout " + sentinelName + " 10000\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("write configuration of %s: %w", name, err)
	}
	r.Process = &procs.Process{Name: name, Path: path, Args: []string{config, "--sentinel"}, Dir: dir, Env: procs.Environment()}
	net.add(r.Process)
	r.client = redis.NewClient(&redis.Options{Addr: r.addr, Protocol: 2, DisableIdentity: true})
	s.sentinels = append(s.sentinels, r)
	return r, r.start()
}

// clusterRedis is a Redis Cluster of three masters with a replica each.
func clusterRedis(dir string, net *network, args []string) (*redisServers, error) {
	s := &redisServers{}
	var gates []string
	for i := range 6 {
		name := fmt.Sprintf("redis-%d", i+1)
		bus, err := procs.FreePort()
		if err != nil {
			return s, err
		}
		busGate, err := net.gate("bus-"+name, "127.0.0.1:"+bus)
		if err != nil {
			return s, err
		}
		_, announced, _ := strings.Cut(busGate, ":")
		r, err := s.add("redis-server", name, dir, net, append([]string{
			"--cluster-enabled", "yes", "--cluster-node-timeout", "3000",
			"--cluster-port", bus, "--cluster-announce-bus-port", announced,
		}, args...))
		if err != nil {
			return s, err
		}
		gates = append(gates, r.gate)
	}
	create := append(append([]string{"--cluster", "create"}, gates...), "--cluster-replicas", "1", "--cluster-yes")
	if err := redisCLI(context.Background(), create...); err != nil {
		return s, err
	}
	s.env = []string{"REDIS_ADDRS=" + strings.Join(gates, ",")}
	return s, procs.WaitFor("the cluster has its replicas", procs.StartLimit, func() string {
		masters := s.masters(context.Background())
		if len(masters) != 3 {
			return fmt.Sprintf("%d masters", len(masters))
		}
		for _, m := range masters {
			if _, err := s.replica(context.Background(), m); err != nil {
				return err.Error()
			}
			if info, _ := m.client.Info(context.Background(), "replication").Result(); !strings.Contains(info, "state=online") {
				return m.Name + " waits for its replica"
			}
		}
		return ""
	})
}

// errNoMaster means that nobody claims to be master.
var errNoMaster = errors.New("no Redis is master")

// master is the only master, or the first of several.
func (s *redisServers) master(ctx context.Context) (*redisServer, error) {
	if all := s.masters(ctx); len(all) > 0 {
		return all[0], nil
	}
	return nil, errNoMaster
}
