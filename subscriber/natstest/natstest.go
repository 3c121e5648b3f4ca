// Package natstest runs NATS servers with JetStream for tests.
package natstest

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Instance is one NATS server, in the test's process but reached over TCP. It
// keeps its address and its files from one start to the next. Safe for
// concurrent use.
type Instance struct {
	tb   testing.TB
	opts server.Options

	mu     sync.Mutex // guards server
	server *server.Server
}

// Server starts a server on a free port of 127.0.0.1 with an empty store. It
// ends with the test. tweaks change its options.
func Server(tb testing.TB, tweaks ...func(*server.Options)) *Instance {
	tb.Helper()
	s := &Instance{tb: tb, opts: server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true,
		JetStream: true, StoreDir: tb.TempDir(), JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: 4 << 30,
	}}
	for _, tweak := range tweaks {
		tweak(&s.opts)
	}
	s.Start()
	s.opts.Port = s.server.Addr().(*net.TCPAddr).Port
	tb.Cleanup(s.Shutdown)
	return s
}

// URL is where clients reach the server, whether it runs or not.
func (s *Instance) URL() string {
	return "nats://" + net.JoinHostPort(s.opts.Host, strconv.Itoa(s.opts.Port))
}

// Start starts the server again after Shutdown.
func (s *Instance) Start() {
	s.tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	opts := s.opts // the server writes into it
	ns, err := server.NewServer(&opts)
	if err != nil {
		s.tb.Fatalf("make nats server: %v", err)
	}
	ns.Start()
	if !ns.ReadyForConnections(10 * time.Second) {
		ns.Shutdown()
		s.tb.Fatal("nats server is not ready after 10 s")
	}
	s.server = ns
}

// Shutdown ends the server and waits until it has.
func (s *Instance) Shutdown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server != nil {
		s.server.Shutdown()
		s.server.WaitForShutdown()
		s.server = nil
	}
}

// Restart is Shutdown and Start.
func (s *Instance) Restart() {
	s.tb.Helper()
	s.Shutdown()
	s.Start()
}

// Swap restarts the server with the files of a stream from another directory, or its own ones when
// that is empty, and leaves a copy of what it had before in the second directory.
func (s *Instance) Swap(stream, from, to string) {
	s.tb.Helper()
	s.Shutdown()
	defer s.Start()
	dir := filepath.Join(s.opts.StoreDir, "jetstream", server.DEFAULT_GLOBAL_ACCOUNT, "streams", stream)
	err := os.CopyFS(to, os.DirFS(dir))
	if err == nil && from != "" {
		err = errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(from)))
	}
	if err != nil {
		s.tb.Fatalf("swap the files of stream %s: %v", stream, err)
	}
}

// Connect connects a plain client, which ends with the test and reconnects for ever.
func (s *Instance) Connect(opts ...nats.Option) *nats.Conn {
	s.tb.Helper()
	nc, err := nats.Connect(s.URL(), append([]nats.Option{nats.MaxReconnects(-1), nats.ReconnectWait(20 * time.Millisecond)}, opts...)...)
	if err != nil {
		s.tb.Fatalf("connect to nats: %v", err)
	}
	s.tb.Cleanup(nc.Close)
	return nc
}
