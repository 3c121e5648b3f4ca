package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// goMod is what these tests read of go.mod.
type goMod struct {
	Require []struct {
		Path, Version string
		Indirect      bool
	}
	Replace []struct {
		Old, New struct{ Path string }
	}
}

func readGoMod(t *testing.T) (m goMod) {
	t.Helper()
	out, err := exec.Command("go", "mod", "edit", "-json").Output()
	if err == nil {
		err = json.Unmarshal(out, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestDependenciesAreExplained: ADR 8 has one row for each direct requirement of
// go.mod, in the table that says whether it is linked into the binary.
func TestDependenciesAreExplained(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("docs/adr/0008-dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	linked, onlyTests, ok := strings.Cut(string(text), "Only tests and benchmarks use these:")
	if !ok {
		t.Fatal("ADR 8 has no table of the modules that only tests use")
	}
	out, err := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	inBinary := strings.Fields(string(out))
	row := regexp.MustCompile("(?m)^\\| `([^`]+)` \\|")
	explained := map[string]bool{}
	for where, table := range map[string]string{"linked": linked, "only tests": onlyTests} {
		for _, r := range row.FindAllStringSubmatch(table, -1) {
			if explained[r[1]] {
				t.Errorf("%s has two rows", r[1])
			}
			explained[r[1]] = true
			if isLinked := slices.Contains(inBinary, r[1]); isLinked != (where == "linked") {
				t.Errorf("%s is in the table %q; it is linked: %v", r[1], where, isLinked)
			}
		}
	}
	for _, m := range readGoMod(t).Require {
		if !m.Indirect && !explained[m.Path] {
			t.Errorf("%s has no row in docs/adr/0008-dependencies.md", m.Path)
		}
		if !m.Indirect {
			delete(explained, m.Path)
		}
	}
	for path := range explained {
		t.Errorf("ADR 8 has a row for %s, which go.mod does not require directly", path)
	}
}

// TestNoVulnerableTransports: the two modules that the Socket.IO library links in for
// WebTransport are at a version without known vulnerabilities, or not there.
func TestNoVulnerableTransports(t *testing.T) {
	t.Parallel()
	m := readGoMod(t)
	if len(m.Replace) != 1 || m.Replace[0].Old.Path != "github.com/zishang520/webtransport-go" || m.Replace[0].New.Path != "./internal/nowebtransport" {
		t.Errorf("go.mod replaces %+v, want webtransport-go alone: it has the vulnerabilities of versions before 0.10.0", m.Replace)
	}
	for _, r := range m.Require {
		var minor, patch int
		if r.Path != "github.com/quic-go/quic-go" {
			continue
		}
		if _, err := fmt.Sscanf(r.Version, "v0.%d.%d", &minor, &patch); err != nil || minor < 59 || minor == 59 && patch < 1 {
			t.Errorf("quic-go is %s, want v0.59.1 or later: GO-2026-5676", r.Version)
		}
	}
}

// TestAuditVulnerabilities: `make vuln` fails on a finding and on every fault but one:
// without a way to the database it says so in one line and passes.
func TestAuditVulnerabilities(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		script string // in place of govulncheck
		says   string
		passes bool
	}{
		"nothing found": {"echo No vulnerabilities found.", "No vulnerabilities found.", true},
		"a finding":     {"echo 'Vulnerability #1: GO-2026-5676'; echo 'exit status 3' >&2; exit 1", "Vulnerability #1", false},
		"no database": {
			"echo 'govulncheck: fetching vulnerabilities: dial tcp: no such host' >&2; exit 1",
			"govulncheck: cannot reach the vulnerability database, nothing was checked", true,
		},
		"another fault": {"echo 'govulncheck: loading packages: no go.mod' >&2; exit 1", "loading packages", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tool := filepath.Join(t.TempDir(), "govulncheck")
			if err := os.WriteFile(tool, []byte("#!/bin/sh\n"+tt.script+"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command("make", "--no-print-directory", "vuln", "VULN="+tool).CombinedOutput()
			if passed := err == nil; passed != tt.passes || !strings.Contains(string(out), tt.says) {
				t.Errorf("make vuln passed: %v, want %v; it printed\n%s", passed, tt.passes, out)
			}
			if name == "no database" && strings.Count(string(out), "\n") != 1 {
				t.Errorf("want one line, got\n%s", out)
			}
		})
	}
}
