package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/internal/testutil/npm"
)

const samples = "../docs/samples"

// TestSamples runs what docs/publishers.md and docs/clients.md show: each sender against a
// running bridge, and each message must reach a stock page and the page of the samples.
func TestSamples(t *testing.T) {
	t.Parallel()
	n, natsURL := embedded(t)
	npm.Need(t, ".")
	// Where Node finds what the samples import.
	dir := t.TempDir()
	for _, file := range []string{"page.mjs", "publish.mjs"} {
		text, err := os.ReadFile(filepath.Join(samples, file))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, file), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	modules, err := filepath.Abs("node_modules")
	if err == nil {
		err = os.Symlink(modules, filepath.Join(dir, "node_modules"))
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		receipt bool // what it prints is a receipt
		command []string
	}{
		"go":     {true, []string{"go", "run", samples + "/publish", natsURL}},
		"node":   {true, []string{"node", filepath.Join(dir, "publish.mjs"), natsURL}},
		"python": {false, []string{python, samples + "/send.py", n.url}},
		"curl":   {false, []string{"sh", samples + "/send.sh", n.url}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(tt.command[0]); err != nil {
				if os.Getenv("CI") != "" {
					t.Fatal(err)
				}
				t.Skip(err)
			}
			user := "sample_" + name
			p := open(t, n.url, transports["websocket"])
			p.setUser(user)
			shown := runPage(t, dir, n.url, user)
			// The page of the sample says nothing before its first message: until it is mapped there is one socket.
			waitFor(t, "the sample's page is mapped", func() string {
				_, answer := getJSON(t, n.ops+"/api/v1/users/"+user)
				if sockets, _ := answer["sockets"].([]any); len(sockets) == 2 {
					return ""
				}
				text, _ := json.Marshal(answer)
				return string(text)
			})
			cmd := exec.Command(tt.command[0], append(tt.command[1:], user, "sub_"+name)...)
			cmd.Stderr = t.Output()
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if tt.receipt {
				var r bridge.Receipt
				if err := json.Unmarshal(out, &r); err != nil || r.Outcome != bridge.Pushed || r.Sockets != 2 {
					t.Errorf("receipt %s (%v)", out, err)
				}
			} else if !strings.Contains(string(out), `"sockets":2`) {
				t.Errorf("it says %s", out)
			}
			want := `{"submissionId":"sub_` + name + `","status":"ACCEPTED"}`
			var got, payload map[string]string
			if err := json.Unmarshal(p.waitCount("evaluationComplete", 1)[0].Args[0], &got); err != nil {
				t.Fatal(err)
			}
			select {
			case line := <-shown:
				if err := json.Unmarshal([]byte(line), &payload); err != nil {
					t.Fatalf("the sample's page shows %s", line)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("the sample's page shows nothing")
			}
			for _, m := range []map[string]string{got, payload} {
				if m["submissionId"] != "sub_"+name || m["status"] != "ACCEPTED" || len(m) != 2 {
					t.Errorf("a page got %v, want %s", m, want)
				}
			}
		})
	}
}

// runPage runs the sample's page and returns the lines that it shows.
func runPage(t *testing.T, dir, url, user string) (lines <-chan string) {
	t.Helper()
	return runLines(t, exec.Command("node", filepath.Join(dir, "page.mjs"), url, user))
}
