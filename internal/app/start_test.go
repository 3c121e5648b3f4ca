package app

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/codewar/socketbridge/internal/config"
)

// TestFailedStartClosesListeners: when ops.addr cannot be opened, http.addr is closed too, before
// the parts that its requests need.
func TestFailedStartClosesListeners(t *testing.T) {
	t.Chdir(t.TempDir())
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	cfg.HTTP.Addr, cfg.Ops.Addr, cfg.NATS.Embedded.Addr = free.Addr().String(), taken.Addr().String(), "127.0.0.1:0"
	free.Close()
	if err := Run(t.Context(), cfg, io.Discard); err == nil || !strings.Contains(err.Error(), "ops.addr") {
		t.Errorf("got %v, want an error that names ops.addr", err)
	}
	if c, err := net.Dial("tcp", cfg.HTTP.Addr); err == nil {
		c.Close()
		t.Error("http.addr still accepts connections")
	}
}
