package cli

import (
	"encoding/json"
	"regexp"
	"testing"

	"github.com/codewar/socketbridge/internal/testutil/launch"
)

// TestBench: a bridge that works passes, over NATS and over HTTP.
func TestBench(t *testing.T) {
	launch.Clean(t)
	nats := "nats.embedded.addr=" + launch.FreeAddr(t)
	p := launch.Start(t, Run, "--set", nats, "--set", "drain.duration=0s")
	defer p.Wait(t)
	for _, way := range [][]string{nil, {"--http"}} {
		args := append([]string{"bench", "--url", p.URL, "--set", nats, "--users", "20", "--rate", "100", "--for", "1s"}, way...)
		out, _ := launch.Command(t, Run, exitStopped, append(args, "--json")...)
		var r loadJSON
		if err := json.Unmarshal([]byte(out), &r); err != nil || r.Published != 100 || r.Received != 100 || r.Users != 20 || r.P50 <= 0 || r.Max < r.P99 || r.Via == "" {
			t.Errorf("%v: %s", err, out)
		}
		if out, _ := launch.Command(t, Run, exitStopped, args...); !regexp.MustCompile(`^20 users at http://127\.0\.0\.1:\d+, 100 messages a second over \S+ for 1s
 +published +a second +received +lost +duplicates +inversions +p50 ms +p90 ms +p99 ms +p99\.9 ms +max ms
 +100 +[\d.]+ +100 +0 +0 +0 ( +\d+\.\d\d){5}
$`).MatchString(out) {
			t.Errorf("printed\n%s", out)
		}
	}
}
