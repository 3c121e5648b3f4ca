package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestImportDirection holds the packages against the picture in
// docs/ARCHITECTURE.md: the domain knows nobody's client library, and the three
// adapters do not know each other.
func TestImportDirection(t *testing.T) {
	t.Parallel()
	const module = "github.com/codewar/socketbridge"
	mayImport := map[string][]string{ // of our own packages; nil: none
		"":                               {"/internal/cli"},
		"/bridge":                        {"/internal/metrics", "/internal/varint"},
		"/bridge/bridgetest":             {"/bridge", "/internal/testutil/wait"},
		"/bridge/certtest":               nil,
		"/gateway":                       {"/bridge", "/gateway/apierror", "/gateway/auth", "/gateway/hub", "/gateway/limit", "/gateway/publish", "/gateway/sio", "/internal/metrics"},
		"/gateway/admin":                 {"/bridge", "/gateway", "/gateway/apierror", "/gateway/console", "/gateway/hub", "/gateway/limit", "/gateway/sio", "/internal/logging", "/internal/metrics"},
		"/gateway/apierror":              nil,
		"/gateway/auth":                  {"/bridge", "/internal/metrics"},
		"/gateway/console":               nil,
		"/gateway/hub":                   {"/bridge", "/gateway/apierror", "/gateway/auth", "/gateway/limit", "/gateway/sio", "/internal/metrics", "/internal/ring"},
		"/gateway/limit":                 {"/bridge", "/internal/metrics"},
		"/gateway/publish":               {"/bridge", "/gateway/apierror", "/gateway/auth", "/gateway/limit", "/internal/metrics", "/internal/ring"},
		"/gateway/sio":                   {"/gateway/limit", "/internal/metrics"},
		"/gateway/siotest":               {"/internal/testutil/npm"},
		"/store":                         {"/bridge", "/internal/metrics"},
		"/store/redistest":               {"/internal/testutil/capture", "/internal/testutil/wait"},
		"/subscriber":                    {"/bridge", "/internal/metrics", "/internal/varint"},
		"/subscriber/natstest":           nil,
		"/bench":                         {"/e2e/procs", "/internal/testutil/npm"},
		"/docs/samples/publish":          nil,
		"/e2e":                           nil,
		"/e2e/attack":                    {"/e2e/procs", "/gateway/auth", "/internal/sioclient"},
		"/e2e/chaos":                     {"/bridge", "/e2e/procs", "/internal/sioclient"},
		"/e2e/clients":                   nil,
		"/e2e/compat":                    nil,
		"/e2e/observe":                   nil,
		"/e2e/procs":                     nil,
		"/internal/app":                  {"/bridge", "/gateway", "/gateway/admin", "/gateway/auth", "/gateway/console", "/gateway/hub", "/gateway/limit", "/gateway/publish", "/gateway/sio", "/internal/buildinfo", "/internal/config", "/internal/logging", "/internal/metrics", "/internal/tracing", "/store", "/subscriber"},
		"/internal/buildinfo":            nil,
		"/internal/testutil/capture":     nil,
		"/internal/cli":                  {"/bridge", "/gateway/admin", "/gateway/auth", "/internal/app", "/internal/buildinfo", "/internal/config", "/internal/loadtest", "/internal/logging", "/internal/sioclient", "/subscriber"},
		"/internal/config":               {"/bridge", "/gateway/auth", "/gateway/limit", "/gateway/sio", "/internal/logging", "/internal/tracing", "/store", "/subscriber"},
		"/internal/testutil/contract":    {"/internal/testutil/npm"},
		"/internal/loadtest":             {"/internal/sioclient"},
		"/internal/logging":              nil,
		"/internal/metrics":              nil,
		"/internal/testutil/metricstest": nil,
		"/internal/testutil/npm":         nil,
		"/internal/ring":                 nil,
		"/internal/sioclient":            nil,
		"/internal/testutil/golden":      nil,
		"/internal/testutil/launch":      {"/internal/testutil/capture", "/internal/config"},
		"/internal/tracing":              {"/bridge", "/internal/buildinfo"},
		"/internal/varint":               nil,
		"/internal/testutil/wait":        nil,
	}
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		pkg := strings.TrimPrefix(fields[0], module)
		allowed, known := mayImport[pkg]
		if !known {
			t.Errorf("package %s has no place in the picture", fields[0])
			continue
		}
		for _, imp := range fields[1:] {
			ours, own := strings.CutPrefix(imp, module)
			if own && !slices.Contains(allowed, ours) {
				t.Errorf("%s imports %s", pkg, ours)
			}
			if outside := strings.Contains(strings.Split(imp, "/")[0], "."); (pkg == "/bridge" || pkg == "/internal/metrics") && outside && !own && !strings.HasPrefix(imp, "github.com/prometheus/") {
				t.Errorf("the domain imports %s", imp)
			}
			if strings.Contains(imp, "zishang520") && pkg != "/gateway/sio" {
				t.Errorf("%s imports %s: only gateway/sio may", pkg, imp)
			}
		}
	}
}

// TestSecurityNamesTests: each test that SECURITY.md relies on exists.
func TestSecurityNamesTests(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	var tests strings.Builder
	err = filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() && d.Name() == "node_modules" {
			return fs.SkipDir
		}
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		tests.Write(source)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllSubmatch(text, -1)
	if len(names) < 20 {
		t.Fatalf("SECURITY.md names %d tests only", len(names))
	}
	for _, n := range names {
		if !strings.Contains(tests.String(), "func "+string(n[1])+"(") {
			t.Errorf("SECURITY.md names %s, which does not exist", n[1])
		}
	}
}
