// Package launch runs the whole program inside a test's process.
package launch

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/codewar/socketbridge/internal/config"
	"github.com/codewar/socketbridge/internal/testutil/capture"
)

// MainFunc is the program: it returns the exit status.
type MainFunc func(ctx context.Context, args []string, stdout, stderr io.Writer) int

// Program is a bridge that runs until the test ends.
type Program struct {
	URL    string
	OpsURL string // of the operators' routes: URL, or ops.addr if an argument sets it
	Stop   context.CancelFunc
	Status <-chan int // the exit status
	Stderr *capture.Text
}

// Start runs the program on a free port, in an empty directory, and waits until it is ready.
func Start(t *testing.T, main MainFunc, args ...string) *Program {
	t.Helper()
	return StartAt(t, main, FreeAddr(t), args...)
}

// StartAt is [Start] with the address of http.addr.
func StartAt(t *testing.T, main MainFunc, addr string, args ...string) *Program {
	t.Helper()
	t.Chdir(t.TempDir())
	ctx, cancel := context.WithCancel(context.Background())
	status := make(chan int, 1)
	p := &Program{URL: "http://" + addr, OpsURL: "http://" + addr, Stop: cancel, Status: status, Stderr: new(capture.Text)}
	for _, arg := range args {
		if ops, ok := strings.CutPrefix(arg, "ops.addr="); ok {
			p.OpsURL = "http://" + ops
		}
	}
	args = append([]string{"--set", "http.addr=" + addr, "--set", "nats.embedded.addr=" + FreeAddr(t)}, args...)
	go func() { status <- main(ctx, args, io.Discard, p.Stderr) }()
	t.Cleanup(cancel)
	for range 1000 {
		if status, _ := p.Get("/readyz"); status == http.StatusOK {
			return p
		}
		select {
		case code := <-status:
			t.Fatalf("ended with status %d:\n%s", code, p.Stderr)
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Fatalf("never ready:\n%s", p.Stderr)
	return nil
}

// Wait stops the program, which must end with exit status 0.
func (p *Program) Wait(t *testing.T) {
	t.Helper()
	p.Stop()
	if code := <-p.Status; code != 0 {
		t.Errorf("exit status %d:\n%s", code, p.Stderr)
	}
}

// Client opens a connection for each request.
var Client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}

// Get returns status 0 if there is no answer.
func (p *Program) Get(path string) (status int, body string) {
	res, err := Client.Get(p.URL + path)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b)
}

// Command runs a command, which must end with this exit status within 30 s.
func Command(t *testing.T, main MainFunc, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs capture.Text
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if code := main(ctx, args, &out, &errs); code != want {
		t.Errorf("%s: exit status %d, want %d\n%s%s", strings.Join(args, " "), code, want, &out, &errs)
	}
	return out.String(), errs.String()
}

// Publish stores messages in the embedded server of a program with nats.token=secret, one after the other.
func Publish(t *testing.T, addr string, msgs ...*nats.Msg) {
	t.Helper()
	nc, err := nats.Connect("nats://secret@" + addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for _, m := range msgs {
		if _, err := nc.RequestMsg(m, 5*time.Second); err != nil {
			t.Fatal(err)
		}
	}
}

// FreeAddr returns an address on this machine that nothing listens on.
func FreeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Clean moves to an empty directory and unsets every variable that the configuration reads.
func Clean(t testing.TB) {
	t.Helper()
	t.Chdir(t.TempDir())
	for _, name := range config.Variables() {
		t.Setenv(name, "")
	}
}

// SecretFile writes a file as a container mounts it, outside the working directory.
func SecretFile(t *testing.T, content string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content), 0o400); err != nil {
		t.Fatal(err)
	}
	return path
}
