package procs

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// Root is the directory of the module whose package the working directory is.
func Root(ctx context.Context) (string, error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	return strings.TrimSpace(string(root)), nil
}

// BuildNATS makes a nats-server of the version in go.mod, in dir.
func BuildNATS(ctx context.Context, dir string) (path string, err error) {
	return build(ctx, filepath.Join(dir, "nats-server"), "github.com/nats-io/nats-server/v2")
}

// BuildBridge makes the bridge from the sources, in dir. Flags are for go build.
func BuildBridge(ctx context.Context, dir string, flags ...string) (path string, err error) {
	return build(ctx, filepath.Join(dir, "socketbridge"), "github.com/codewar/socketbridge", flags...)
}

func build(ctx context.Context, path, pkg string, flags ...string) (string, error) {
	args := append(append([]string{"build", "-o", path}, flags...), pkg)
	if out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return path, nil
}
