package e2e

import (
	"fmt"
	"testing"
	"time"
)

// TestClientSession: a client that keeps no cursor, as every library but two, and says
// `auth: {session}` with an id that it has chosen, gets what came while it was away although
// another tab of its user had it; on any node, and for each of its users.
func TestClientSession(t *testing.T) {
	t.Parallel()
	a, b, pub := startCluster(t)
	for name, ways := range transports {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			user, second := "u "+name, "v "+name
			lb := startBalancer(t, a)
			auth := map[string]any{"resume": false, "session": "tab " + name}
			p := open(t, lb.url, ways, auth)
			p.setUser(user)
			other := open(t, a.url, ways)
			other.setUser(user)
			missed := 0
			away := func(n *node) {
				t.Helper()
				// What was written in the last 200 ms may come again: see docs/clients.md.
				saved := time.Now().Add(time.Second)
				waitFor(t, "the progress is saved", func() string { return missing(time.Now().After(saved), "not yet") })
				lb.use(nil)
				lb.cut()
				p.Disconnected()
				from := 1 + 12*missed
				other.waitCount("tick", from) // it is the other one that takes what this one misses
				pub.tick(user, from, from+12)
				other.waitCount("tick", from+12)
				missed++
				lb.use(n)
				p.comeBack(false)
			}
			pub.tick(user, 0, 1)
			p.wantNumbers("tick", 0, 1)
			away(a)
			p.setUser(user)
			p.wantNumbers("tick", 0, 13)
			away(b) // which goes by what is saved
			p.setUser(user)
			p.wantNumbers("tick", 0, 25)

			// Another user with the same id begins at their own inbox.
			pub.stored("mail", fmt.Sprintf(`{"userId":%q,"n":0}`, second))
			p.setUser(second)
			p.waitCount("mail", 1)
			pub.tick(user, 25, 30)
			other.waitCount("tick", 30)
			p.setUser(user)
			p.wantNumbers("tick", 0, 30)
			if got := events(p.Pending(), "error"); len(got) > 0 {
				t.Errorf("told %s", got[0].Raw)
			}
		})
	}
}
