package compat

import (
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the generated sections of docs/compatibility.md anew")

// File is the path of docs/compatibility.md.
func File() string {
	_, here, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(here), "..", "..", "docs", "compatibility.md")
}

// Section holds one section of docs/compatibility.md against its text, or with -update
// writes it. A section is what lies between the lines `<!-- begin name -->` and
// `<!-- end name -->`; the rest of the document is written by hand. Sections of one
// document must not be written at the same time.
func Section(t testing.TB, name, text string) {
	t.Helper()
	document, err := os.ReadFile(File())
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- begin "+name+" -->\n", "<!-- end "+name+" -->\n"
	head, rest, ok := strings.Cut(string(document), begin)
	got, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no section %q", File(), name)
	}
	switch diff := cmp.Diff(got, text); {
	case diff == "":
	case *update:
		if err := os.WriteFile(File(), []byte(head+begin+text+end+tail), 0o600); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("section %q of docs/compatibility.md is stale (-document +observed); run with -update:\n%s", name, diff)
	}
}
