package main

import (
	"context"
	"os/exec"
	"path/filepath"

	"github.com/codewar/socketbridge/e2e/procs"
)

// binaries are the programs under test, and where the stock client is.
type binaries struct {
	bridge, nats string
	modules      string // the directory with node_modules
	prometheus   string // empty: not installed, or not wanted
	alerts       string // the rules it evaluates
}

// build makes the programs. Those that look for data races are not watched by Prometheus.
func build(ctx context.Context, dir string, race bool) (b binaries, err error) {
	root, err := procs.Root(ctx)
	if err != nil {
		return b, err
	}
	b.modules = filepath.Join(root, "e2e")
	b.alerts = filepath.Join(root, "deploy", "prometheus", "alerts.yml")
	var flags []string
	if race {
		flags = []string{"-race"}
	} else if path, err := exec.LookPath("prometheus"); err == nil {
		b.prometheus = path
	}
	if b.bridge, err = procs.BuildBridge(ctx, dir, flags...); err != nil {
		return b, err
	}
	b.nats, err = procs.BuildNATS(ctx, dir)
	return b, err
}
