package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// python is Debian's, which has python3-socketio; another one in the PATH may not.
const python = "/usr/bin/python3"

// TestFixedArguments: a client that must not be given one argument more, because
// its handlers take a fixed number, is not, unless it asks; the JavaScript client
// is, unless it declines.
func TestFixedArguments(t *testing.T) {
	t.Parallel()
	if out, err := exec.Command(python, "-c", "import socketio").CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("python3-socketio is needed: %s", out)
		}
		t.Skipf("no python3-socketio: %s", out)
	}
	n, natsURL := embedded(t)
	pub := connect(t, natsURL)
	for name, tt := range map[string]struct {
		auth      string
		arguments int
	}{
		"unasked":  {"null", 1},
		"declined": {`{"resume":false}`, 1},
		"asked":    {`{"resume":true}`, 2},
	} {
		t.Run("python "+name, func(t *testing.T) {
			said := runPython(t, n.url, tt.auth, "py_"+name)
			if got := said(); got != "connectionId True" {
				t.Errorf("getConnectionId: %s", got)
			}
			pub.stored("tick", fmt.Sprintf(`{"userId":"py_%s","n":1}`, name))
			if arguments := list(t, said()); len(arguments) != tt.arguments || string(arguments[0]) != `{"n": 1}` {
				t.Errorf("handler got %s, want %d arguments", arguments, tt.arguments)
			}
		})
		t.Run("javascript "+name, func(t *testing.T) {
			want := tt.arguments
			if name == "unasked" {
				want = 2
			}
			var auth map[string]any
			if err := json.Unmarshal([]byte(tt.auth), &auth); err != nil {
				t.Fatal(err)
			}
			p := open(t, n.url, transports["websocket"], auth)
			p.setUser("js_" + name)
			pub.stored("tick", fmt.Sprintf(`{"userId":"js_%s","n":1}`, name))
			if got := p.waitCount("tick", 1)[0]; len(got.Args) != want {
				t.Errorf("got %s, want %d arguments", got.Raw, want)
			}
		})
	}
}

// runPython runs a page and returns how to read its next line.
func runPython(t *testing.T, args ...string) (said func() string) {
	t.Helper()
	lines := runLines(t, exec.Command(python, append([]string{"page.py"}, args...)...))
	next := func() string {
		t.Helper()
		select {
		case line := <-lines:
			return line
		case <-time.After(20 * time.Second):
			t.Fatal("the python page says nothing")
			return ""
		}
	}
	if got := next(); got != "ready" {
		t.Fatalf("the python page says %q", got)
	}
	return next
}

// runLines runs a program, which has to end when its standard input does, and returns the
// lines that it prints.
func runLines(t *testing.T, cmd *exec.Cmd) <-chan string {
	t.Helper()
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", cmd.Path, err)
		}
	})
	lines := make(chan string, 16)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- strings.TrimSpace(s.Text())
		}
	}()
	return lines
}

func list(t *testing.T, line string) (items []json.RawMessage) {
	t.Helper()
	if err := json.Unmarshal([]byte(line), &items); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return items
}
