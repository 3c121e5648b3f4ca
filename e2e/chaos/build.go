package main

import (
	"context"
	"path/filepath"

	"github.com/codewar/socketbridge/e2e/procs"
)

// binaries are the programs under test, and where the stock client is.
type binaries struct {
	bridge, nats string
	modules      string // the directory with node_modules
}

// build makes the programs.
func build(ctx context.Context, dir string, race bool) (b binaries, err error) {
	root, err := procs.Root(ctx)
	if err != nil {
		return b, err
	}
	b.modules = filepath.Join(root, "e2e")
	var flags []string
	if race {
		flags = []string{"-race"}
	}
	if b.bridge, err = procs.BuildBridge(ctx, dir, flags...); err != nil {
		return b, err
	}
	b.nats, err = procs.BuildNATS(ctx, dir)
	return b, err
}
