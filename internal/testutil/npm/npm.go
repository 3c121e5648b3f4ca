// Package npm looks whether the packages that a package-lock.json names are installed.
// Tests ask before they use them: with packages that are older than the list, what
// fails is some assertion far away.
package npm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// ErrNone means that nothing is installed.
var ErrNone = errors.New("no npm packages are installed")

// lock is what package-lock.json and npm's own record of what it has installed share.
type lock struct {
	Packages map[string]struct {
		Version  string `json:"version"`
		Optional bool   `json:"optional"` // installed only where the platform is theirs
	} `json:"packages"`
}

func readLock(file string) (l lock, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return l, err
	}
	if err := json.Unmarshal(text, &l); err != nil {
		return l, fmt.Errorf("%s: %w", file, err)
	}
	return l, nil
}

// Check holds what is installed in a directory against its package-lock.json. An error
// names the first package that is missing or of another version.
func Check(dir string) error {
	want, err := readLock(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		return err
	}
	have, err := readLock(filepath.Join(dir, "node_modules", ".package-lock.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNone
	}
	if err != nil {
		return err
	}
	for _, place := range slices.Sorted(maps.Keys(want.Packages)) {
		p, name := want.Packages[place], strings.TrimPrefix(place, "node_modules/")
		switch installed, ok := have.Packages[place]; {
		case place == "", p.Optional: // "" is the directory itself
		case !ok:
			return fmt.Errorf("%s %s is not installed", name, p.Version)
		case installed.Version != p.Version:
			return fmt.Errorf("%s is %s, package-lock.json says %s", name, installed.Version, p.Version)
		}
	}
	return nil
}

// Need fails the test unless the packages of the directory e2e are those of its
// package-lock.json. Where there are none at all the test is skipped, or fails when
// the variable CI is set.
func Need(t testing.TB, e2e string) {
	t.Helper()
	err := Check(e2e)
	switch {
	case err == nil:
		return
	case errors.Is(err, ErrNone) && os.Getenv("CI") == "":
		t.Skipf("%v in %s: run make deps", err, e2e)
	}
	t.Fatalf("the npm packages in e2e are not the ones that the tests need: %v: run make deps, or npm ci in e2e should that find nothing to do", err)
}

// Versions are those of the packages that a directory's package-lock.json names, by the
// name under which they are installed there.
func Versions(dir string) (map[string]string, error) {
	l, err := readLock(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		return nil, err
	}
	versions := make(map[string]string)
	for place, p := range l.Packages {
		if name, ok := strings.CutPrefix(place, "node_modules/"); ok && !strings.Contains(name, "node_modules/") {
			versions[name] = p.Version
		}
	}
	return versions, nil
}
