package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/codewar/socketbridge/internal/buildinfo"
	"github.com/codewar/socketbridge/internal/capture"
)

// output is what the program writes, readable while it runs.
type output = capture.Text

// program runs the whole program in this process until the test ends.
type program struct {
	url    string
	inside string // where the operators' routes are: url, or ops.addr where an argument sets it
	stop   context.CancelFunc
	status chan int
	stderr *output
}

func startProgram(t *testing.T, args ...string) *program {
	t.Helper()
	return startProgramAt(t, freeAddr(t), args...)
}

func startProgramAt(t *testing.T, addr string, args ...string) *program {
	t.Helper()
	t.Chdir(t.TempDir())
	ctx, cancel := context.WithCancel(context.Background())
	p := &program{url: "http://" + addr, stop: cancel, status: make(chan int, 1), stderr: new(output)}
	p.inside = p.url
	for _, arg := range args {
		if ops, ok := strings.CutPrefix(arg, "ops.addr="); ok {
			p.inside = "http://" + ops
		}
	}
	args = append([]string{"--set", "http.addr=" + addr, "--set", "nats.embedded.addr=" + freeAddr(t)}, args...)
	go func() { p.status <- run(ctx, args, io.Discard, p.stderr) }()
	t.Cleanup(cancel)
	for range 1000 {
		if status, _ := p.get("/readyz"); status == http.StatusOK {
			return p
		}
		select {
		case code := <-p.status:
			t.Fatalf("ended with status %d:\n%s", code, p.stderr)
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Fatalf("never ready:\n%s", p.stderr)
	return nil
}

var httpClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}

func (p *program) get(path string) (status int, body string) {
	res, err := httpClient.Get(p.url + path)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b)
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestServeEmbedded(t *testing.T) {
	p := startProgram(t)
	if status, body := p.get("/livez"); status != http.StatusOK {
		t.Errorf("/livez: %d %s", status, body)
	}
	res, err := httpClient.Post(p.url+"/sendPayload", "application/json", strings.NewReader(`{"userId":"nobody","topic":"t"}`))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusNotFound {
		t.Errorf("/sendPayload for nobody: %d", res.StatusCode)
	}
	p.stop()
	if code := <-p.status; code != exitStopped {
		t.Errorf("exit status %d:\n%s", code, p.stderr)
	}
}

func TestServeFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, tt := range map[string]struct {
		args   []string
		status int
		says   string
	}{
		"http port taken": {[]string{"--set", "nats.embedded.addr=" + freeAddr(t), "--set", "http.addr=" + taken.Addr().String()}, exitFailed, "http.addr"},
		"nats port taken": {[]string{"--set", "http.addr=127.0.0.1:0", "--set", "nats.embedded.addr=" + taken.Addr().String()}, exitFailed, "nats.embedded.addr"},
		"bad value":       {[]string{"--set", "http.reply_timeout=soon"}, exitUsage, `http.reply_timeout "soon"`},
		"unknown key":     {[]string{"--set", "http.adr=:1"}, exitUsage, "http.adr"},
		"unknown command": {[]string{"sevre"}, exitUsage, "sevre"},
		"unknown flag":    {[]string{"--prot", "1"}, exitUsage, "--prot"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			var stderr output
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if code := run(ctx, tt.args, io.Discard, &stderr); code != tt.status {
				t.Errorf("exit status %d, want %d", code, tt.status)
			}
			if !strings.Contains(stderr.String(), tt.says) {
				t.Errorf("says %q, want it to name %s", stderr.String(), tt.says)
			}
		})
	}
}

func TestCommands(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, tt := range []struct{ command, says string }{
		{"version", "socketbridge " + buildinfo.Version},
		{"version --json", `"version":"` + buildinfo.Version + `"}`},
		{"check", "addr: :3004"},
		{"check --json", `"http":{"addr":":3004",`},
		{"key judge --json", `"entry":"judge:`},
		{"token --user u --set auth.secrets=k:0123456789abcdef0123456789abcdef --json", `"userId":"u","expiresAt":"`},
	} {
		var stdout output
		if code := run(t.Context(), strings.Fields(tt.command), &stdout, io.Discard); code != exitStopped {
			t.Errorf("%s: exit status %d", tt.command, code)
		}
		if !strings.Contains(stdout.String(), tt.says) {
			t.Errorf("%s prints %q", tt.command, stdout.String())
		}
	}
}
