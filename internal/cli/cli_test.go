package cli

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/codewar/socketbridge/internal/buildinfo"
	"github.com/codewar/socketbridge/internal/testutil/capture"
	"github.com/codewar/socketbridge/internal/testutil/launch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
		"http port taken": {[]string{"--set", "nats.embedded.addr=" + launch.FreeAddr(t), "--set", "http.addr=" + taken.Addr().String()}, exitFailed, "http.addr"},
		"nats port taken": {[]string{"--set", "http.addr=127.0.0.1:0", "--set", "nats.embedded.addr=" + taken.Addr().String()}, exitFailed, "nats.embedded.addr"},
		"bad value":       {[]string{"--set", "http.reply_timeout=soon"}, exitUsage, `http.reply_timeout "soon"`},
		"unknown key":     {[]string{"--set", "http.adr=:1"}, exitUsage, "http.adr"},
		"unknown command": {[]string{"sevre"}, exitUsage, "sevre"},
		"unknown flag":    {[]string{"--prot", "1"}, exitUsage, "--prot"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			var stderr capture.Text
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if code := Run(ctx, tt.args, io.Discard, &stderr); code != tt.status {
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
		var stdout capture.Text
		if code := Run(t.Context(), strings.Fields(tt.command), &stdout, io.Discard); code != exitStopped {
			t.Errorf("%s: exit status %d", tt.command, code)
		}
		if !strings.Contains(stdout.String(), tt.says) {
			t.Errorf("%s prints %q", tt.command, stdout.String())
		}
	}
}
