package cli

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/codewar/socketbridge/internal/config"
	"github.com/codewar/socketbridge/internal/testutil/capture"
	"github.com/codewar/socketbridge/internal/testutil/launch"
)

// TestWarningsAreShown: `check` prints them beside the configuration, and the process logs
// the same ones when it starts.
func TestWarningsAreShown(t *testing.T) {
	launch.Clean(t)
	t.Setenv("REDIS_HOST", "redis.example")
	t.Setenv("NATS_URL", "nats://nats.example:4222")
	t.Setenv("OPS_ADDR", "0.0.0.0:0")
	t.Setenv("HTTP_ADDR", "127.0.0.1:0")
	cfg, err := config.Load(newCommand().PersistentFlags())
	if err != nil {
		t.Fatal(err)
	}
	want := cfg.Warnings()
	if len(want) != 8 {
		t.Fatalf("got %d warnings, want 8: %q", len(want), want)
	}
	for _, args := range [][]string{{"check"}, {"check", "--json"}} {
		var out, diag bytes.Buffer
		if code := Run(t.Context(), args, &out, &diag); code != exitStopped {
			t.Fatalf("%v: exit status %d: %s", args, code, &diag)
		}
		var got []string
		for line := range strings.Lines(diag.String()) {
			got = append(got, strings.TrimSpace(strings.TrimPrefix(line, "warning: ")))
		}
		if d := cmp.Diff(want, got); d != "" || strings.Contains(out.String(), "warning") {
			t.Errorf("%v (-want +got):\n%s", args, d)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // it stops at once
	var log capture.Text
	Run(ctx, []string{"serve"}, &log, &log)
	for _, w := range want {
		if !slices.ContainsFunc(strings.Split(log.String(), "\n"), func(l string) bool { return strings.Contains(l, "level=WARN") && strings.Contains(l, w) }) {
			t.Errorf("the log lacks %q:\n%s", w, &log)
		}
	}
}
