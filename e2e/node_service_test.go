package e2e

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/codewar/socketbridge/internal/testutil/npm"
)

// interaction is what node_service/compare.mjs prints for each.
type interaction struct {
	Name       string          `json:"name"`
	Difference string          `json:"difference"` // key of its row; empty: none is expected
	Node       json.RawMessage `json:"node"`
	Bridge     json.RawMessage `json:"bridge"`
	Same       bool            `json:"same"`
}

// documentedDifferences are the keys of the table in docs/migration.md.
func documentedDifferences(t *testing.T) map[string]bool {
	t.Helper()
	page, err := os.ReadFile("../docs/migration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, begun := strings.Cut(string(page), "<!-- differences -->")
	table, _, ended := strings.Cut(rest, "<!-- /differences -->")
	if !begun || !ended {
		t.Fatal("docs/migration.md does not mark its table of differences")
	}
	keys := make(map[string]bool)
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z0-9-]+)` \\|[^|]+\\|[^|]+\\| *[^| ][^|]*\\|$").FindAllStringSubmatch(table, -1) {
		if keys[row[1]] {
			t.Errorf("docs/migration.md has two rows %s", row[1])
		}
		keys[row[1]] = true
	}
	if rows := strings.Count(table, "\n| `"); rows != len(keys) {
		t.Errorf("docs/migration.md: %d of %d rows have a key, three more columns and a reason", len(keys), rows)
	}
	return keys
}

// TestNodeService sends the same interactions to the bridge and to a Node service that was
// written from the contract. Where they differ docs/migration.md has the reason, and it
// has no difference that is not seen.
func TestNodeService(t *testing.T) {
	t.Parallel()
	npm.Need(t, ".")
	documented := documentedDifferences(t)
	const origin = "https://app.example"
	bridge := startBridge(t, "solo", "NATS_EMBEDDED_ADDR=127.0.0.1:"+freePort(t), "ORIGIN="+origin)
	service := startNodeService(t, origin)
	cmd := exec.CommandContext(t.Context(), "node", "node_service/compare.mjs")
	cmd.Env = append(clean(os.Environ()), "NODE_URL="+service, "BRIDGE_URL="+bridge.url, "ORIGIN="+origin)
	cmd.WaitDelay = 10 * time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("compare.mjs: %v\n%s", err, &stderr)
	}
	all, seen := 0, make(map[string]bool)
	for lines := json.NewDecoder(bytes.NewReader(out)); lines.More(); all++ {
		var i interaction
		if err := lines.Decode(&i); err != nil {
			t.Fatalf("compare.mjs printed %.200s: %v", out, err)
		}
		both := []any{i.Node, i.Bridge}
		switch {
		case bytes.Contains(i.Node, []byte(`{"failed":`)), bytes.Contains(i.Bridge, []byte(`{"failed":`)):
			t.Errorf("%s: failed:\nNode   %.500s\nbridge %.500s", append([]any{i.Name}, both...)...)
		case i.Same && i.Difference != "":
			t.Errorf("%s: no difference %s:\nNode   %.500s\nbridge %.500s", append([]any{i.Name, i.Difference}, both...)...)
		case !i.Same && !documented[i.Difference]:
			t.Errorf("%s: a difference %q that docs/migration.md does not have:\nNode   %.500s\nbridge %.500s", append([]any{i.Name, i.Difference}, both...)...)
		case !i.Same:
			seen[i.Difference] = true
		}
	}
	for key := range documented {
		if !seen[key] {
			t.Errorf("docs/migration.md has the difference %s, which is not seen", key)
		}
	}
	if all < 120 {
		t.Errorf("%d interactions only", all)
	}
}

// startNodeService runs the Node service until the test ends.
func startNodeService(t *testing.T, origin string) (url string) {
	t.Helper()
	port := freePort(t)
	file, err := filepath.Abs("node_service/server.js")
	if err != nil {
		t.Fatal(err)
	}
	start(t, "node service", []string{"PORT=" + port, "ORIGIN=" + origin}, "node", file)
	waitFor(t, "the Node service listens", func() string {
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			return err.Error()
		}
		return errText(c.Close())
	})
	return "http://127.0.0.1:" + port
}
