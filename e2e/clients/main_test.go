package clients

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/codewar/socketbridge/e2e/procs"
	"github.com/codewar/socketbridge/internal/testutil/npm"
)

// python is Debian's, which has python3-socketio; another one in the PATH may not.
const python = "/usr/bin/python3"

// binaries are built once for the whole package, the bridge with the race detector.
var binaries struct{ bridge, nats, goClient string }

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if err := needed(); err != nil {
		fmt.Fprintf(os.Stderr, "the tests of clients need what is not installed:\n%v\nrun: make deps\n", err)
		return 1
	}
	dir, err := os.MkdirTemp("", "bridge-clients-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

// needed says what is missing. Nothing here is skipped: a client that is not tested is
// not known to work.
func needed() (missing error) {
	for _, program := range []string{"node", "chromium", "nginx"} {
		if _, err := exec.LookPath(program); err != nil {
			missing = errors.Join(missing, err)
		}
	}
	for _, module := range []string{"socketio", "requests", "websocket", "aiohttp"} {
		if err := exec.Command(python, "-c", "import "+module).Run(); err != nil {
			missing = errors.Join(missing, fmt.Errorf("python module %s: %w", module, err))
		}
	}
	if err := npm.Check(".."); err != nil {
		missing = errors.Join(missing, fmt.Errorf("npm packages of e2e: %w", err))
	}
	return missing
}

func build(dir string) (err error) {
	ctx := context.Background()
	if binaries.bridge, err = procs.BuildBridge(ctx, dir, "-race"); err != nil {
		return err
	}
	if binaries.nats, err = procs.BuildNATS(ctx, dir); err != nil {
		return err
	}
	binaries.goClient = filepath.Join(dir, "goclient")
	cmd := exec.Command("go", "build", "-o", binaries.goClient, ".")
	cmd.Dir = "goclient" // a module of its own
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build goclient: %w\n%s", err, out)
	}
	return nil
}
