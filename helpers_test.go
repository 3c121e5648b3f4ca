package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/codewar/socketbridge/internal/config"
)

var (
	goodSecret = "main:" + strings.Repeat("s", 32)
	goodEntry  = "judge:" + strings.Repeat("0a", 32)
)

// clean moves to an empty directory and forgets every variable that the configuration reads.
func clean(t testing.TB) {
	t.Helper()
	t.Chdir(t.TempDir())
	for _, n := range config.Variables() {
		t.Setenv(n, "")
	}
}

// mustLoad loads the configuration of the environment.
func mustLoad(t testing.TB) config.Config {
	t.Helper()
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	config.AddFlags(flags)
	c, err := config.Load(flags)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// secretFile writes a file as a container mounts it, outside the working directory.
func secretFile(t *testing.T, content string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content), 0o400); err != nil {
		t.Fatal(err)
	}
	return path
}
