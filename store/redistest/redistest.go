// Package redistest runs real redis-server processes for tests, and lets them
// fail: stall, die and come back empty.
package redistest

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/codewar/socketbridge/internal/testutil/capture"
	"github.com/codewar/socketbridge/internal/testutil/wait"
)

// Redis is one redis-server without persistence. Its methods are for one
// goroutine at a time and fail the test when they cannot do their work.
type Redis struct {
	// Addr is the path of a unix socket, which a Redis client takes for an
	// address; of a Cluster, and with TLS, it is host:port.
	Addr string

	t      testing.TB
	slots  string   // its first and last one in a Cluster, else empty
	tls    []string // arguments; nil without TLS
	admin  string   // a unix socket: see ask; empty in a Cluster
	binary string
	dir    string
	cmd    *exec.Cmd // nil after Kill
}

// Server starts a server that is killed when the test ends. Without a redis-server
// in the PATH the test is skipped, or fails when the variable CI is set.
func Server(t testing.TB) *Redis {
	t.Helper()
	s := prepare(t)
	s.admin = filepath.Join(s.dir, "s")
	s.Addr = s.admin
	s.Restart()
	return s
}

// TLS starts a server that speaks only TLS and believes only clients with a
// certificate of that authority. The arguments name PEM files. Otherwise it is
// like Server; Do goes around the TLS.
func TLS(t testing.TB, ca, cert, key string) *Redis {
	t.Helper()
	s := prepare(t)
	s.admin = filepath.Join(s.dir, "s")
	s.Addr = freeAddr(t)
	_, port, _ := net.SplitHostPort(s.Addr)
	s.tls = []string{
		"--bind", "127.0.0.1", "--tls-port", port, "--tls-auth-clients", "yes",
		"--tls-ca-cert-file", ca, "--tls-cert-file", cert, "--tls-key-file", key,
	}
	s.Restart()
	return s
}

// Cluster starts a Cluster of one server: enough to refuse a script whose keys
// are in different slots. Otherwise it is like Server.
func Cluster(t testing.TB) *Redis {
	t.Helper()
	s := prepare(t)
	s.slots = "0 16383"
	s.Addr = freeAddr(t)
	s.Restart()
	s.knows(1)
	return s
}

// Masters starts a Cluster of two servers: the first has the slots below 8192. Either serves
// while the other is away. Otherwise they are like Server.
func Masters(t testing.TB) (low, high *Redis) {
	t.Helper()
	low, high = prepare(t), prepare(t)
	low.slots, high.slots = "0 8191", "8192 16383"
	for _, s := range []*Redis{low, high} {
		s.Addr = freeAddr(t)
		s.Restart()
	}
	host, port, _ := net.SplitHostPort(high.Addr)
	low.Do(fmt.Sprintf("CLUSTER MEET %s %s %d", host, port, high.bus()))
	low.knows(2)
	high.knows(2)
	return low, high
}

// knows waits until the server knows who has which slots.
func (s *Redis) knows(ranges int) {
	s.t.Helper()
	s.poll(&capture.Text{}, func() bool {
		slots, err := s.ask("CLUSTER SLOTS")
		if err != nil || slots != fmt.Sprint("*", ranges) {
			return false
		}
		_, err = s.ask("GET x")
		return err == nil || strings.HasPrefix(err.Error(), "-MOVED")
	})
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("find a port for redis: %v", err)
	}
	defer l.Close()
	return l.Addr().String()
}

func prepare(t testing.TB) *Redis {
	t.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("redis-server is needed: %v", err)
		}
		t.Skipf("no redis-server: %v", err)
	}
	// t.TempDir contains the test's name; a socket's path may have 107 bytes.
	dir, err := os.MkdirTemp("", "redis-") //nolint:usetesting // see above
	if err != nil {
		t.Fatalf("make directory for redis: %v", err)
	}
	s := &Redis{t: t, binary: binary, dir: dir}
	t.Cleanup(func() {
		if s.cmd != nil {
			s.Kill()
		}
		_ = os.RemoveAll(dir)
	})
	return s
}

// Save makes a snapshot, with which the server starts from then on: Kill and Restart put it
// back to this moment.
func (s *Redis) Save() { s.Do("SAVE") }

// Restart starts the server again, after Kill: empty, or as it was at the last Save.
func (s *Redis) Restart() {
	s.t.Helper()
	if s.cmd != nil {
		s.t.Fatal("redis still runs: Kill it first")
	}
	cmd := exec.Command(s.binary, append(s.where(), "--save", "", "--appendonly", "no", "--dir", s.dir)...)
	var output capture.Text
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		s.t.Fatalf("start redis: %v", err)
	}
	s.cmd = cmd
	s.poll(&output, func() bool { line, err := s.ask("PING"); return err == nil && line == "+PONG" })
	if s.slots != "" {
		s.Do("CLUSTER ADDSLOTSRANGE " + s.slots)
	}
}

// where are the arguments that say where to listen.
func (s *Redis) where() []string {
	if s.slots == "" {
		return append([]string{"--port", "0", "--unixsocket", s.admin}, s.tls...)
	}
	_, port, _ := net.SplitHostPort(s.Addr)
	return []string{
		"--bind", "127.0.0.1", "--port", port, "--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(s.bus()),
		// Who is stopped by a test stays a master, and the others serve.
		"--cluster-require-full-coverage", "no", "--cluster-node-timeout", "3600000",
	}
}

// bus is the port by which the servers of a Cluster speak with each other, and which one alone
// wants too: any below those that the system hands out.
func (s *Redis) bus() int {
	_, port, _ := net.SplitHostPort(s.Addr)
	n, _ := strconv.Atoi(port)
	return n%20000 + 10000
}

func (s *Redis) poll(output *capture.Text, ready func() bool) {
	s.t.Helper()
	wait.Until(s.t, "redis answers", func() string {
		if ready() {
			return ""
		}
		return "it has printed\n" + output.String()
	})
}

// Kill ends the server as a crash would. Everything it had is lost but what was saved.
func (s *Redis) Kill() {
	s.t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		s.t.Fatalf("kill redis: %v", err)
	}
	_ = s.cmd.Wait() // says "killed"
	s.cmd = nil
	if s.slots != "" {
		_ = os.Remove(filepath.Join(s.dir, "nodes.conf")) // where it keeps its slots
	} else {
		_ = os.Remove(s.admin)
	}
}

// Stop makes the server stall: connections stay open and nothing is answered.
func (s *Redis) Stop() { s.signal(syscall.SIGSTOP) }

// Cont ends a Stop.
func (s *Redis) Cont() { s.signal(syscall.SIGCONT) }

// PID is the process id, for measurements.
func (s *Redis) PID() int { return s.cmd.Process.Pid }

// FlushAll empties the server.
func (s *Redis) FlushAll() { s.Do("FLUSHALL") }

// FlushScripts makes the server forget its Lua scripts.
func (s *Redis) FlushScripts() { s.Do("SCRIPT FLUSH") }

// Do runs one command, given as words without quotes, over a connection of its
// own and returns the first line of the answer.
func (s *Redis) Do(command string) string {
	s.t.Helper()
	line, err := s.ask(command)
	if err != nil {
		s.t.Fatalf("redis %s: %v", command, err)
	}
	return line
}

func (s *Redis) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatalf("signal redis: %v", err)
	}
}

func (s *Redis) ask(command string) (string, error) {
	network, addr := "unix", s.admin
	if s.slots != "" {
		network, addr = "tcp", s.Addr
	}
	conn, err := net.DialTimeout(network, addr, time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(conn, "%s\r\n", command); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return "", err
	}
	if strings.HasPrefix(line, "-") {
		return "", errors.New(strings.TrimSpace(line))
	}
	return strings.TrimSpace(line), nil
}
