package app_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/codewar/socketbridge/internal/cli"
	"github.com/codewar/socketbridge/internal/testutil/launch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// root is the directory of go.mod.
const root = "../../"

// Exit statuses.
const exitStopped, exitUsage = 0, 2

// program is a running bridge, with the requests that these tests send to it.
type program struct{ *launch.Program }

func startProgram(t *testing.T, args ...string) *program {
	t.Helper()
	return &program{launch.Start(t, cli.Run, args...)}
}
