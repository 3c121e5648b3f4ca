package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/codewar/socketbridge/store/redistest"
)

// TestNodeIDTwice: a process with the node id of one that lives takes no sockets and no calls, and
// changes nothing for the clients of the other. It serves when the other has ended.
func TestNodeIDTwice(t *testing.T) {
	t.Parallel()
	_, natsURL := startNATS(t)
	env := []string{"NATS_URL=" + natsURL, "REDIS_ADDRS=" + redistest.Server(t).Addr}
	a, b := startBridge(t, "a", env...), startBridge(t, "b", env...)
	p := open(t, b.url, transports["websocket"])
	p.setUser("u")
	twin := launchBridge(t, "b", env, binaries.bridge)
	listens := false
	n := 0
	for began := time.Now(); time.Since(began) < 4*time.Second || !listens; n++ {
		if status, answer := a.send(t, fmt.Sprintf(`{"userId":"u","topic":"tick","n":%d}`, n)); status != http.StatusOK {
			t.Fatalf("message %d for a user on the other node: %d %v", n, status, answer)
		}
		status, why := get(twin.url + "/readyz")
		if status == 0 {
			continue
		}
		listens = true
		if status != http.StatusServiceUnavailable || !strings.Contains(why, `"node"`) {
			t.Errorf("/readyz of the second process: %d %s", status, why)
		}
		if status, answer := twin.send(t, `{"userId":"u","topic":"tick"}`); status != http.StatusServiceUnavailable {
			t.Errorf("a call of the second process: %d %v", status, answer)
		}
		res, err := client.Get(twin.url + "/socket.io/?EIO=4&transport=polling")
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
			t.Errorf("a handshake at the second process: %d, Retry-After %q", res.StatusCode, res.Header.Get("Retry-After"))
		}
	}
	p.wantNumbers("tick", 0, n)
	b.kill()
	twin.ready(t)
}
