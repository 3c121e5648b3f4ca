package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// binaries are the programs under test, and where the stock client is.
type binaries struct {
	bridge, nats string
	modules      string // the directory with node_modules
}

// build makes the bridge from the sources, and a nats-server of the version in go.mod.
func build(ctx context.Context, dir string, race bool) (binaries, error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return binaries{}, fmt.Errorf("find the module: %w", err)
	}
	b := binaries{
		bridge:  filepath.Join(dir, "socketbridge"),
		nats:    filepath.Join(dir, "nats-server"),
		modules: filepath.Join(strings.TrimSpace(string(root)), "e2e"),
	}
	args := []string{"-o", b.bridge, "github.com/codewar/socketbridge"}
	if race {
		args = append([]string{"-race"}, args...)
	}
	return b, errors.Join(goBuild(ctx, args...), goBuild(ctx, "-o", b.nats, "github.com/nats-io/nats-server/v2"))
}

func goBuild(ctx context.Context, args ...string) error {
	if out, err := exec.CommandContext(ctx, "go", append([]string{"build"}, args...)...).CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}
