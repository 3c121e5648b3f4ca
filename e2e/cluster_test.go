package e2e

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/codewar/socketbridge/store/redistest"
)

// startCluster runs two bridges on a Redis and a nats-server of their own.
func startCluster(t *testing.T, env ...string) (a, b *node, pub *publisher) {
	t.Helper()
	redis := redistest.Server(t)
	_, natsURL := startNATS(t)
	env = append([]string{"NATS_URL=" + natsURL, "REDIS_ADDRS=" + redis.Addr}, env...)
	return startBridge(t, "a", env...), startBridge(t, "b", env...), connect(t, natsURL)
}

func TestCluster(t *testing.T) {
	t.Parallel()
	a, b, pub := startCluster(t)
	for name, ways := range transports {
		t.Run(name, func(t *testing.T) {
			user := "user_" + name
			onA, onB := open(t, a.url, ways), open(t, b.url, ways)
			onA.setUser(user)
			onB.setUser(user)
			for i, n := range []*node{a, b} {
				status, answer := n.send(t, fmt.Sprintf(`{"userId":%q,"topic":"tick","n":%d}`, user, i))
				if status != http.StatusOK || answer["sockets"] != 2.0 {
					t.Errorf("POST to %s: %d %v", n.id, status, answer)
				}
			}
			pub.stored("tick", fmt.Sprintf(`{"userId":%q,"n":2}`, user))
			onA.wantNumbers("tick", 0, 3)
			onB.wantNumbers("tick", 0, 3)

			// One leaves: the other still gets everything, from either node.
			onA.Disconnect()
			waitFor(t, "one socket is left", func() string {
				if _, answer := a.send(t, fmt.Sprintf(`{"userId":%q,"topic":"last","n":0}`, user)); answer["sockets"] != 1.0 {
					return fmt.Sprint(answer)
				}
				return ""
			})
			// The last one leaves: both nodes say so within 100 ms.
			onB.Disconnect()
			time.Sleep(100 * time.Millisecond)
			for _, n := range []*node{a, b} {
				if status, answer := n.send(t, fmt.Sprintf(`{"userId":%q,"topic":"tick"}`, user)); status != http.StatusNotFound {
					t.Errorf("POST to %s 100 ms after the last socket left: %d %v", n.id, status, answer)
				}
			}
		})
	}
	balanced(t, a, b)
}

// TestLeaderKilled kills the leader with SIGKILL under 2,000 messages a second.
// The survivor's page must get every one, once and in order, and the silence must
// not last longer than the leader's lease.
func TestLeaderKilled(t *testing.T) {
	t.Parallel()
	a, b, pub := startCluster(t)
	leader, survivor := a, b
	if b.metric("bridge_leader") == 1 {
		leader, survivor = b, a
	}
	const rate, total = 2000, 16_000
	p := open(t, survivor.url, transports["websocket"])
	p.setUser("u")
	var publishing sync.WaitGroup
	publishing.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for i := 0; i < total; <-tick.C {
			for range rate / 100 {
				pub.stored("tick", fmt.Sprintf(`{"userId":"u","n":%d}`, i))
				i++
			}
		}
	})
	p.waitCount("tick", rate) // the leader works
	leader.kill()
	killed := time.Now()
	waitFor(t, "the survivor leads", func() string {
		if survivor.metric("bridge_leader") == 1 {
			return ""
		}
		return fmt.Sprintf("no leader after %v", time.Since(killed))
	})
	took := time.Since(killed)
	publishing.Wait()
	p.wantNumbers("tick", 0, total)
	t.Logf("takeover after %v, longest silence %v", took, p.longestSilence("tick"))
	if took > 6*time.Second { // five, and what the question takes
		t.Errorf("takeover took %v", took)
	}
}
