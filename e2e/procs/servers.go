package procs

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// StartLimit is how long a process may take until it serves.
const StartLimit = 30 * time.Second

// StartNATS runs the nats-server at path, with JetStream and more arguments. On an error the
// caller still has to kill the process, if there is one.
func StartNATS(dir, path string, args ...string) (p *Process, url string, err error) {
	port, err := FreePort()
	if err != nil {
		return nil, "", err
	}
	p = &Process{
		Name: "nats", Path: path, Dir: dir, Env: Environment(),
		Args: append([]string{"-js", "-a", "127.0.0.1", "-p", port, "-sd", filepath.Join(dir, "jetstream")}, args...),
	}
	if err := p.Start(); err != nil {
		return nil, "", err
	}
	return p, "nats://127.0.0.1:" + port, p.Listens("127.0.0.1:" + port)
}

// RedisDir is where the Redis that StartRedis runs keeps its files.
func RedisDir(dir string) string { return filepath.Join(dir, "redis") }

// StartRedis runs the redis-server that is installed. It saves nothing unless args say so.
// On an error the caller still has to kill the process, if there is one.
func StartRedis(dir string, args ...string) (p *Process, addr string, err error) {
	port, err := FreePort()
	if err != nil {
		return nil, "", err
	}
	if p, err = NewRedis("redis-server", "redis", dir, port, args...); err != nil {
		return nil, "", err
	}
	if err := p.Start(); err != nil {
		return nil, "", err
	}
	addr = "127.0.0.1:" + port
	return p, addr, p.Listens(addr)
}

// NewRedis is the process of an installed program that takes the arguments of redis-server,
// not yet started. Its files are in the directory of its name in dir, which is made.
func NewRedis(program, name, dir, port string, args ...string) (*Process, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", program, err)
	}
	data := filepath.Join(dir, name)
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, fmt.Errorf("make directory of %s: %w", name, err)
	}
	return &Process{
		Name: name, Path: path, Dir: dir, Env: Environment(),
		Args: append([]string{"--bind", "127.0.0.1", "--port", port, "--dir", data, "--save", ""}, args...),
	}, nil
}

// Listens waits until the process takes connections.
func (p *Process) Listens(addr string) error {
	return WaitFor(p.Name+" listens", StartLimit, func() string {
		if !p.Alive() {
			return "it has ended, see " + p.LogFile()
		}
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return err.Error()
		}
		_ = c.Close()
		return ""
	})
}
