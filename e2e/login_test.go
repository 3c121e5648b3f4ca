package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// TestLoginWhileOffline: a page whose connection is broken logs out and another user logs in,
// with a token, on the same socket object. The server hears of no logout, and the client presents
// the session and the cursor of the user before. The new user is sent what waits for
// them, and nothing of the other.
func TestLoginWhileOffline(t *testing.T) {
	t.Parallel()
	addr := "127.0.0.1:" + freePort(t)
	env := []string{"AUTH_MODE=jwt", "AUTH_SECRETS=dev:" + strings.Repeat("s", 64)}
	n := startBridge(t, "solo", append(env, "NATS_EMBEDDED_ADDR="+addr)...)
	pub := connect(t, "nats://"+addr)
	for name, ways := range transports {
		for _, says := range []bool{true, false} { // disconnect(), or only another auth
			how := name + ", by auth only"
			if says {
				how = name + ", by disconnect"
			}
			t.Run(how, func(t *testing.T) {
				t.Parallel()
				u, v := "u "+how, "v "+how
				lb := startBalancer(t, n)
				p := open(t, lb.url, ways, tokenOf(t, env, u))
				p.EventNamed("bridge:offset") // its token has mapped it
				pub.tick(v, 0, 10)
				pub.stored("old", fmt.Sprintf(`{"userId":%q}`, u)) // its offset is after those
				p.waitFor("old", "{}")
				lb.use(nil)
				lb.cut()
				p.Disconnected()
				pub.stored("old", fmt.Sprintf(`{"userId":%q}`, u))
				if says {
					p.Disconnect()
				}
				p.Auth(tokenOf(t, env, v))
				lb.use(n)
				if says {
					p.Reconnect()
				}
				p.comeBack(false)
				p.setUser(v)
				pub.tick(v, 10, 12)
				p.wantNumbers("tick", 0, 12)

				// The session is v's now.
				lb.use(nil)
				lb.cut()
				p.Disconnected()
				pub.tick(v, 12, 14)
				lb.use(n)
				p.comeBack(true)
				p.wantNumbers("tick", 0, 14)
				if got := events(p.Pending(), "old"); len(got) > 1 {
					t.Errorf("got %s, which is of the user before", got[1].Raw)
				}
				if got := events(p.Pending(), "error"); len(got) > 0 {
					t.Errorf("told %s", got[0].Raw)
				}
			})
		}
	}
}

// tokenOf is the auth of a user whom the bridge makes a token for.
func tokenOf(t testing.TB, env []string, user string) map[string]any {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binaries.bridge, "token", "--user", user)
	cmd.Dir, cmd.Env = t.TempDir(), append(cmd.Environ(), env...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{"token": strings.TrimSpace(string(out))}
}
