package observe

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// needs returns where a program is. Without it the test is skipped, or fails when
// the variable CI is set.
func needs(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil && os.Getenv("CI") != "" {
		t.Fatalf("%s is not installed; make deps does that", program)
	}
	if err != nil {
		t.Skipf("%s is not installed", program)
	}
	return path
}

// deployed names a file of the folder deploy.
func deployed(path string) string { return filepath.Join("..", "..", "deploy", path) }

// read returns a file's text.
func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
