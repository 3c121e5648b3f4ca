package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/codewar/socketbridge/internal/testutil/npm"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("os/exec.(*Cmd).watchCtx")) // of a build that was cancelled
}

// TestChaos is the short form of `make chaos`, with bridges that look for data
// races: fewer pages and messages, the same faults and the same account.
func TestChaos(t *testing.T) {
	dir, err := os.MkdirTemp("", "bridge-chaos-") //nolint:usetesting // the logs stay when a row fails
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			_ = os.RemoveAll(dir)
		}
	})
	bin, err := build(t.Context(), dir, true)
	if err != nil {
		t.Fatal(err)
	}
	needs(t, bin)
	for _, r := range rows() {
		if !r.ci {
			continue
		}
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			logs := filepath.Join(dir, strings.ReplaceAll(r.name, " ", "-"))
			res, err := perform(t.Context(), r, short, bin, logs)
			if err != nil {
				t.Fatalf("%v; logs in %s", err, logs)
			}
			t.Logf("%+v", *res)
			if res.failed() {
				t.Errorf("%d duplicates, %d inversions, %d lost, %d strays; logs in %s\n%s", res.duplicates, res.inversions, res.lost, res.strays, logs, strings.Join(res.breaches, "\n"))
			}
			if res.published == 0 || res.received < res.published {
				t.Errorf("published %d, received %d: nothing was tested", res.published, res.received)
			}
		})
	}
}

// needs skips the test where the servers or the stock client are missing, or
// fails it when the variable CI is set.
func needs(t *testing.T, bin binaries) {
	t.Helper()
	missing := t.Skip
	if os.Getenv("CI") != "" {
		missing = t.Fatal
	}
	for _, program := range []string{"redis-server", "node"} {
		if _, err := exec.LookPath(program); err != nil {
			missing(program, " is not installed")
		}
	}
	npm.Need(t, bin.modules)
}
