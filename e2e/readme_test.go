package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/codewar/socketbridge/internal/testutil/npm"
)

// fenced finds the blocks of code of a document, by their language.
var fenced = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$")

// block is the first block of code of a document in a language that has this text.
func block(t *testing.T, document, language, with string) string {
	t.Helper()
	text, err := os.ReadFile("../" + document)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range fenced.FindAllSubmatch(text, -1) {
		if string(b[1]) == language && bytes.Contains(b[2], []byte(with)) {
			return string(b[2])
		}
	}
	t.Fatalf("%s has no block in %s with %q", document, language, with)
	return ""
}

// readmeAddress is where README's bridge listens. The test's listens elsewhere, so that
// several can run on one machine.
const readmeAddress = "localhost:3004"

// TestReadme runs the page, the program and the call that README shows, as they stand
// there. The page comes from another origin than the bridge, as a file would. Chromium is told to
// find the bridge of the test where README has it; elsewhere the address is replaced.
func TestReadme(t *testing.T) {
	t.Parallel()
	const readme = "README.md"
	page, program, call := block(t, readme, "html", "<script"), block(t, readme, "js", "socket.io-client"), block(t, readme, "sh", "/sendPayload")
	n, _ := embedded(t)
	here := strings.TrimPrefix(n.url, "http://")

	shown := make(map[string]<-chan string)
	shown["page"] = readmePage(t, page, here)
	shown["program"] = readmeProgram(t, strings.ReplaceAll(program, readmeAddress, here))
	for who, lines := range shown {
		awaitLine(t, who, lines, `ok"?: ?true`)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(call, readmeAddress, here))
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	// What README says that it answers is its last line, but for the figures.
	said := call[strings.LastIndex(call, "# ")+2:]
	if want := figures.ReplaceAllString(strings.TrimSpace(said), "N"); err != nil || figures.ReplaceAllString(strings.TrimSpace(string(out)), "N") != want {
		t.Errorf("the call prints %s (%v), want %s", out, err, said)
	}
	for who, lines := range shown {
		line := awaitLine(t, who, lines, `ACCEPTED`)
		if !strings.Contains(line, "sub_456") || strings.Contains(line, "userId") || strings.Contains(line, "topic") {
			t.Errorf("the %s shows %s", who, line)
		}
	}
}

// figures are the numbers in an answer, and the offset.
var figures = regexp.MustCompile(`\d+(-\d+\S*?)?\b`)

// awaitLine returns the next line that fits the expression.
func awaitLine(t *testing.T, who string, lines <-chan string, expression string) string {
	t.Helper()
	fits, limit := regexp.MustCompile(expression), time.After(time.Minute)
	var last string
	for {
		select {
		case line, more := <-lines:
			if fits.MatchString(line) {
				return line
			}
			if last = line; !more {
				t.Fatalf("the %s has ended without %s", who, expression)
			}
		case <-limit:
			t.Fatalf("the %s does not show %s, last %s", who, expression, last)
		}
	}
}

// readmePage opens a page in Chromium and returns what it writes to its console.
func readmePage(t *testing.T, html, bridge string) <-chan string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, html)
	}))
	t.Cleanup(s.Close)
	cmd := exec.Command("node", "browser/console.mjs", s.URL)
	cmd.Env = append(clean(os.Environ()), "CHROMIUM="+chromium(t), "BRIDGE_URL="+s.URL, "CHROMIUM_MAP=MAP "+readmeAddress+" "+bridge)
	return runLines(t, cmd)
}

// readmeProgram runs a program in Node and returns what it writes.
func readmeProgram(t *testing.T, text string) <-chan string {
	t.Helper()
	npm.Need(t, ".")
	dir := t.TempDir()
	modules, err := filepath.Abs("node_modules")
	if err == nil {
		err = os.Symlink(modules, filepath.Join(dir, "node_modules"))
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "readme.mjs"), []byte(text+"process.stdin.resume().on('end', () => process.exit());\n"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return runLines(t, exec.Command("node", filepath.Join(dir, "readme.mjs")))
}

// TestPythonOfClients runs what docs/clients.md shows for Python.
func TestPythonOfClients(t *testing.T) {
	t.Parallel()
	if err := exec.Command(python, "-c", "import socketio").Run(); err != nil {
		t.Fatalf("python3-socketio is needed (make deps): %v", err)
	}
	n, _ := embedded(t)
	text := strings.ReplaceAll(block(t, "docs/clients.md", "python", "socketio"), readmeAddress, strings.TrimPrefix(n.url, "http://"))
	// It runs until the test ends.
	text = strings.Replace(text, "client.wait()", "import sys; sys.stdin.read(); client.disconnect()", 1)
	cmd := exec.Command(python, "-u", "-c", text)
	lines := runLines(t, cmd)
	waitFor(t, "the message is taken", func() string {
		status, answer := n.send(t, `{"userId":"user_123","topic":"submissionUpdate","n":1}`)
		if status != http.StatusOK {
			return fmt.Sprint(answer)
		}
		return ""
	})
	awaitLine(t, "program", lines, `^\{'n': 1\}$`)
}
