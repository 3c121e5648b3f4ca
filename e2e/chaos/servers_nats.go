package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/codewar/socketbridge/e2e/procs"
)

// natsServer is one nats-server.
type natsServer struct {
	*procs.Process
	url  string // past its gate
	gate string // URL of the gate
}

// natsServers is one server, or the servers of a NATS cluster.
type natsServers []*natsServer

// urls are those past the gates, as nats.go takes them.
func (s natsServers) urls() string {
	var all []string
	for _, n := range s {
		all = append(all, n.url)
	}
	return strings.Join(all, ",")
}

// gates are the URLs for bridges.
func (s natsServers) gates() string {
	var all []string
	for _, n := range s {
		all = append(all, n.gate)
	}
	return strings.Join(all, ",")
}

// startNATS starts so many servers, a cluster when they are several. On an error the caller
// still has to kill what was started.
func startNATS(dir, path string, count int, net *network) (servers natsServers, err error) {
	routes := make([]string, count)
	ports := make([]string, count)
	for i := range count {
		if ports[i], err = procs.FreePort(); err != nil {
			return servers, err
		}
		gate, err := net.gate(natsName(i), "127.0.0.1:"+ports[i])
		if err != nil {
			return servers, err
		}
		routes[i] = "nats://" + gate
	}
	for i := range count {
		var args []string
		if count > 1 {
			args = []string{
				"--cluster_name", "chaos", "--cluster", "nats://127.0.0.1:" + ports[i], "--routes", strings.Join(routes, ","),
				"--cluster_advertise", strings.TrimPrefix(routes[i], "nats://"), "--no_advertise",
			}
		}
		s, err := startNATSServer(dir, path, natsName(i), net, args)
		if s != nil {
			servers = append(servers, s)
		}
		if err != nil {
			return servers, err
		}
	}
	return servers, procs.WaitFor("jetstream takes requests", procs.StartLimit, func() string { return jetStreamState(servers.urls()) })
}

func natsName(i int) string { return fmt.Sprintf("nats-%d", i+1) }

func startNATSServer(dir, path, name string, net *network, args []string) (s *natsServer, err error) {
	port, err := procs.FreePort()
	if err != nil {
		return nil, err
	}
	gate, err := net.gate(name, "127.0.0.1:"+port)
	if err != nil {
		return nil, err
	}
	s = &natsServer{url: "nats://127.0.0.1:" + port, gate: "nats://" + gate, Process: &procs.Process{
		Name: name, Path: path, Dir: dir, Env: procs.Environment(),
		Args: append([]string{"-js", "-n", name, "-a", "127.0.0.1", "-p", port, "-sd", filepath.Join(dir, name)}, args...),
	}}
	net.add(s.Process)
	if err := s.Start(); err != nil {
		return nil, err
	}
	return s, s.Listens("127.0.0.1:" + port)
}

// jetStreamState is "" when JetStream has a leader.
func jetStreamState(urls string) string {
	nc, err := nats.Connect(urls)
	if err != nil {
		return err.Error()
	}
	defer nc.Close()
	js, err := nc.JetStream()
	if err == nil {
		_, err = js.AccountInfo()
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// start starts a server again and waits until it takes connections.
func (s *natsServer) start() error {
	if err := s.Start(); err != nil {
		return err
	}
	return s.Listens(strings.TrimPrefix(s.url, "nats://"))
}

// at is the server of a name, as the JetStream API tells it.
func (s natsServers) at(name string) (*natsServer, error) {
	for _, n := range s {
		if n.Name == name {
			return n, nil
		}
	}
	return nil, fmt.Errorf("no NATS server %q", name)
}
