package e2e

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/codewar/socketbridge/e2e/compat"
	"github.com/codewar/socketbridge/internal/testutil/npm"
)

// TestProtocol compares the bridge with Socket.IO's own server, in each behaviour of the
// protocol, and holds docs/compatibility.md against that:
// `go test ./e2e -run TestProtocol -update` writes it.
func TestProtocol(t *testing.T) {
	modules := filepath.Join("..", "bench", "peer")
	npm.Need(t, modules)
	brief := map[string]string{
		"SOCKETS_PING_INTERVAL": compat.BriefPingInterval, "SOCKETS_PING_TIMEOUT": compat.BriefPingTimeout,
		"SOCKETS_UPGRADE_TIMEOUT": compat.BriefUpgradeTimeout, "SOCKETS_CONNECT_TIMEOUT": compat.BriefConnectTimeout,
	}
	env := []string{"ORIGIN=" + compat.AllowedOrigin, "SOCKETS_EVENTS_PER_MINUTE=1000"}
	bridge := compat.Server{URL: compatBridge(t, env), Brief: compatBridge(t, append(env, pairs(brief)...))}
	node := compat.Server{
		URL: startSocketIO(t, modules, map[string]any{"pingInterval": 25_000, "pingTimeout": 60_000}),
		Brief: startSocketIO(t, modules, map[string]any{
			"pingInterval": ms(t, compat.BriefPingInterval), "pingTimeout": ms(t, compat.BriefPingTimeout),
			"upgradeTimeout": ms(t, compat.BriefUpgradeTimeout), "connectTimeout": ms(t, compat.BriefConnectTimeout),
		}),
	}
	compat.Section(t, "protocol", compat.Protocol(t, bridge, node))
}

func compatBridge(t *testing.T, env []string) string {
	t.Helper()
	return startBridge(t, "solo", append([]string{"NATS_EMBEDDED_ADDR=127.0.0.1:" + freePort(t)}, env...)...).url
}

func pairs(of map[string]string) (out []string) {
	for name, value := range of {
		out = append(out, name+"="+value)
	}
	return out
}

func ms(t *testing.T, duration string) int64 {
	t.Helper()
	d, err := time.ParseDuration(duration)
	if err != nil {
		t.Fatal(err)
	}
	return d.Milliseconds()
}

// startSocketIO runs Socket.IO's server with these options until the test ends.
func startSocketIO(t *testing.T, modules string, options map[string]any) (url string) {
	t.Helper()
	modules, err := filepath.Abs(filepath.Join(modules, "node_modules"))
	if err != nil {
		t.Fatal(err)
	}
	arg, err := json.Marshal(map[string]any{"origin": compat.AllowedOrigin, "io": options})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", filepath.Join("compat", "server.js"), string(arg))
	cmd.Env = append(clean(os.Environ()), "NODE_PATH="+modules)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close() // ends it
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("start Socket.IO's server: %v", err)
	}
	return strings.TrimSpace(line)
}
