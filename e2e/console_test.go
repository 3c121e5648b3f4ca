package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/codewar/socketbridge/internal/testutil/npm"
)

// chromium finds the browser that the pages are tested in.
func chromium(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err == nil {
		_, err = exec.LookPath("node")
	}
	switch {
	case err == nil:
		npm.Need(t, ".")
		return path
	case os.Getenv("CI") != "":
		t.Fatal("chromium and node are needed (make deps):", err)
	}
	t.Skip("chromium and node are needed (make deps):", err)
	return ""
}

// drive runs a file of tests in browser/ against a bridge. They may use the environment
// that is given, and leave pictures of the pages where PICTURES says.
func drive(t *testing.T, n *node, file string, env ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", "--test", "--test-reporter=spec", "browser/"+file)
	cmd.Env = append(clean(os.Environ()), append(env, "CHROMIUM="+chromium(t), "BRIDGE_URL="+n.url, "PICTURES="+os.Getenv("PICTURES"))...)
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("%s: %v", file, err)
	}
}

// TestConsole: the operators' page, while messages flow. At its end the bridge is killed.
func TestConsole(t *testing.T) {
	t.Parallel()
	chromium(t)
	n, natsURL := embedded(t)
	pub := connect(t, natsURL)
	for range 2 {
		open(t, n.url, transports["websocket"]).setUser("busy")
	}
	pub.stored("poison", "hello")
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-tick.C:
				if i%50 < i/50%20 {
					continue // each second at another rate, from 31 to 50 messages, so that charts move
				}
				_ = pub.nc.Publish("codewar.tick", []byte(`{"userId":"busy","n":1}`)) // until the bridge is killed
			case <-stop:
				return
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-stopped })
	drive(t, n, "console.test.mjs", "BRIDGE_PID="+strconv.Itoa(n.cmd.Process.Pid))
}

// TestConsoleKey: the console of a bridge with operators' keys, seen from elsewhere.
func TestConsoleKey(t *testing.T) {
	t.Parallel()
	chromium(t)
	out, err := exec.Command(binaries.bridge, "key", "oncall").Output()
	if err != nil {
		t.Fatal(err)
	}
	hash, key := regexp.MustCompile(`oncall:[0-9a-f]+`).Find(out), regexp.MustCompile(`sbk_\S+`).Find(out)
	if hash == nil || key == nil {
		t.Fatalf("socketbridge key printed %s", out)
	}
	n := startBridge(t, "solo", "NATS_EMBEDDED_ADDR=127.0.0.1:"+freePort(t), "OPS_KEYS="+string(hash))
	drive(t, n, "key.test.mjs", "OPS_KEY="+string(key))
}

// TestPagesSend: pages send in a browser as origins allow, without a key too. A Blob
// needs no preflight, so nothing else would keep a foreign page from it.
func TestPagesSend(t *testing.T) {
	t.Parallel()
	chromium(t)
	friend := freePort(t)
	n := startBridge(t, "solo", "NATS_EMBEDDED_ADDR=127.0.0.1:"+freePort(t), "ORIGIN=http://127.0.0.1:"+friend)
	drive(t, n, "origins.test.mjs", "FRIEND_PORT="+friend)
}

// TestTryIt: the page that a newcomer sees first. It is there in embedded mode only.
func TestTryIt(t *testing.T) {
	t.Parallel()
	chromium(t)
	n, natsURL := embedded(t)
	drive(t, n, "tryit.test.mjs", "NATS_URL="+natsURL)

	_, outside := startNATS(t)
	n = startBridge(t, "served", "NATS_URL="+outside)
	for _, path := range []string{"/", "/tryit/config.json"} {
		if status, body := get(n.url + path); status != http.StatusNotFound {
			t.Errorf("%s with a NATS of its own: %s", path, fmt.Sprint(status, body))
		}
	}
}
