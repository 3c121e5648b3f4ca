package main

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// logLine is one call that writes a line.
type logLine struct {
	level, message string
	keys           []string
	where          string
}

// TestLogsAreDocumented holds docs/logs.md against the sources: each line from info on is in it
// with its level and its keys, and nothing else is.
func TestLogsAreDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("docs/logs.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := make(map[string][]string) // by message: level, keys, what to do
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (info|warn|error) \\|([^|]*)\\|([^|]*)\\|$").FindAllStringSubmatch(string(text), -1) {
		if documented[row[1]] != nil {
			t.Errorf("%q is there twice", row[1])
		}
		documented[row[1]] = row[2:]
	}
	written := make(map[string]bool)
	for _, l := range logLines(t) {
		row := documented[l.message]
		if row == nil {
			t.Errorf("%s: %s %q is not in docs/logs.md", l.where, l.level, l.message)
			continue
		}
		written[l.message] = true
		if row[0] != l.level {
			t.Errorf("%s: %q is %s, docs/logs.md says %s", l.where, l.message, l.level, row[0])
		}
		for _, key := range l.keys {
			if !strings.Contains(row[1], "`"+key+"`") {
				t.Errorf("%s: %q has the key %q, which docs/logs.md does not name", l.where, l.message, key)
			}
		}
	}
	for message := range documented {
		if !written[message] {
			t.Errorf("docs/logs.md has %q, which is never written", message)
		}
	}
	if len(written) < 40 {
		t.Errorf("only %d lines were found", len(written))
	}
}

// logLines finds the calls of a [slog.Logger] from info on in what is built into the program.
func logLines(t *testing.T) (lines []logLine) {
	t.Helper()
	skip := []string{"e2e", "bench", "node_modules", "bridgetest", "certtest", "natstest", "redistest", "siotest", "testutil", ".git"}
	files := gotoken.NewFileSet()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains(skip, d.Name()):
			return fs.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if l, ok := logLineOf(call); ok {
					l.where = files.Position(call.Pos()).String()
					lines = append(lines, l)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// logLineOf reads log.Info(msg, key, value…) and log.LogAttrs(ctx, level, msg, attrs…).
func logLineOf(call *ast.CallExpr) (l logLine, ok bool) {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return l, false
	}
	args := call.Args
	switch name := method.Sel.Name; name {
	case "Info", "Warn", "Error":
		l.level = strings.ToLower(name)
	case "LogAttrs":
		level, ok := args[1].(*ast.SelectorExpr)
		if !ok {
			return l, false
		}
		l.level = strings.ToLower(strings.TrimPrefix(level.Sel.Name, "Level"))
		args = args[2:]
	default:
		return l, false
	}
	if len(args) == 0 || l.level == "debug" {
		return l, false
	}
	if l.message, ok = literal(args[0]); !ok {
		return l, false
	}
	for i, arg := range args[1:] {
		if attr, isCall := arg.(*ast.CallExpr); isCall && len(attr.Args) == 2 {
			if of, isSlog := attr.Fun.(*ast.SelectorExpr); isSlog {
				if pkg, _ := of.X.(*ast.Ident); pkg != nil && pkg.Name == "slog" {
					if key, ok := literal(attr.Args[0]); ok {
						l.keys = append(l.keys, key)
					}
					continue
				}
			}
		}
		if key, ok := literal(arg); ok && i%2 == 0 && method.Sel.Name != "LogAttrs" {
			l.keys = append(l.keys, key)
		}
	}
	return l, true
}

func literal(e ast.Expr) (string, bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != gotoken.STRING {
		return "", false
	}
	s, err := strconv.Unquote(lit.Value)
	return s, err == nil
}
