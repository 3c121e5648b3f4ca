package npm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const listed = `{"packages": {
	"": {"name": "e2e"},
	"node_modules/ajv": {"version": "8.20.0"},
	"node_modules/fsevents": {"version": "2.3.2", "optional": true},
	"node_modules/ws": {"version": "8.18.3"}}}`

// installed writes a directory with package-lock.json and, unless it is empty, npm's record.
func installed(t *testing.T, record string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	files := map[string]string{"package-lock.json": listed}
	if record != "" {
		files["node_modules/.package-lock.json"] = record
	}
	for name, text := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ record, want string }{
		"as listed":       {`{"packages": {"node_modules/ajv": {"version": "8.20.0"}, "node_modules/ws": {"version": "8.18.3"}}}`, ""},
		"more than that":  {`{"packages": {"node_modules/ajv": {"version": "8.20.0"}, "node_modules/ws": {"version": "8.18.3"}, "node_modules/x": {}}}`, ""},
		"one is missing":  {`{"packages": {"node_modules/ws": {"version": "8.18.3"}}}`, "ajv 8.20.0 is not installed"},
		"one is older":    {`{"packages": {"node_modules/ajv": {"version": "8.20.0"}, "node_modules/ws": {"version": "8.1.0"}}}`, "ws is 8.1.0, package-lock.json says 8.18.3"},
		"nothing at all":  {"", ErrNone.Error()},
		"broken half-way": {`{"packages": {`, "unexpected end of JSON input"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := Check(installed(t, tt.record))
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("Check: %v, want %q", err, tt.want)
			}
		})
	}
	if err := Check(installed(t, "")); !errors.Is(err, ErrNone) {
		t.Errorf("with nothing installed: %v, want ErrNone", err)
	}
}

// told is a test that remembers how it was ended.
type told struct {
	testing.TB

	skipped, failed string
}

func (*told) Helper()                       {}
func (f *told) Skipf(text string, a ...any) { f.skipped = fmt.Sprintf(text, a...); panic(f) }
func (f *told) Fatalf(text string, a ...any) {
	f.failed = fmt.Sprintf(text, a...)
	panic(f)
}

func TestNeed(t *testing.T) {
	for name, tt := range map[string]struct {
		record, ci    string
		skips, failed bool
	}{
		"old":           {`{"packages": {}}`, "", false, true},
		"none":          {"", "", true, false},
		"none, in a CI": {"", "true", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("CI", tt.ci)
			dir, f := installed(t, tt.record), &told{TB: t}
			func() {
				defer func() { _ = recover() }() // a test ends there
				Need(f, dir)
			}()
			if (f.skipped != "") != tt.skips || (f.failed != "") != tt.failed {
				t.Errorf("skipped %q, failed %q", f.skipped, f.failed)
			}
			if said := f.skipped + f.failed; !strings.Contains(said, "run make deps") {
				t.Errorf("%q does not say what to run", said)
			}
		})
	}
}
