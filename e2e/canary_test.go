package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/codewar/socketbridge/store/redistest"
)

// canaryReason is why a node says that it is not ready, as far as the canary is concerned.
func (n *node) canaryReason() string {
	status, body := get(n.url + "/readyz")
	var answer struct {
		Reasons map[string]string `json:"reasons"`
	}
	_ = json.Unmarshal([]byte(body), &answer) // of a node that does not answer: no reason
	if status == http.StatusOK && answer.Reasons["canary"] != "" {
		return "ready with a reason: " + body
	}
	return answer.Reasons["canary"]
}

// TestCanary stalls NATS, which messages pass through, as a process that is stopped: it
// takes connections and says nothing. Within ten seconds both nodes must say that
// messages do not arrive, and soon after it goes on that they do.
func TestCanary(t *testing.T) {
	t.Parallel()
	redis := redistest.Server(t)
	natsServer, natsURL := startNATS(t)
	env := []string{"NATS_URL=" + natsURL, "REDIS_ADDRS=" + redis.Addr}
	nodes := []*node{startBridge(t, "a", env...), startBridge(t, "b", env...)}
	for range 2 {
		func() {
			natsServer.signal(syscall.SIGSTOP)
			cont := sync.OnceFunc(func() { natsServer.signal(syscall.SIGCONT) })
			defer cont()
			stalled := time.Now()
			for _, n := range nodes {
				waitFor(t, "the canary of "+n.id+" is missed", func() string {
					if n.canaryReason() == "" {
						return "it is not"
					}
					return ""
				})
				took := time.Since(stalled)
				t.Logf("nats stalled: %s is not ready after %.1f s: %s", n.id, took.Seconds(), n.canaryReason())
				if took > 10*time.Second {
					t.Errorf("%s: noticed after %v", n.id, took)
				}
				if age := n.metric("bridge_canary_age_seconds"); age < 8 {
					t.Errorf("%s: the canary is said to be %v s old", n.id, age)
				}
			}
			cont()
			goesOn := time.Now()
			for _, n := range nodes {
				took := n.ready(t).Sub(goesOn)
				t.Logf("nats goes on: %s is ready after %.1f s", n.id, took.Seconds())
				if took > 10*time.Second {
					t.Errorf("%s: ready again after %v", n.id, took)
				}
			}
		}()
	}
	balanced(t, nodes...)
	for _, n := range nodes {
		if sockets, users := n.metric("bridge_gateway_sockets"), n.metric("bridge_gateway_users"); sockets != 0 || users != 0 {
			t.Errorf("%s counts %v sockets of %v users, and has none", n.id, sockets, users)
		}
	}
}

// TestMessagesWithoutRedis stalls Redis: messages, and the canary, go on.
func TestMessagesWithoutRedis(t *testing.T) {
	t.Parallel()
	redis := redistest.Server(t)
	_, natsURL := startNATS(t)
	env := []string{"NATS_URL=" + natsURL, "REDIS_ADDRS=" + redis.Addr}
	a, b := startBridge(t, "a", env...), startBridge(t, "b", env...)
	onA, onB := open(t, a.url, transports["websocket"]), open(t, b.url, transports["websocket"])
	onA.setUser("u")
	onB.setUser("u")
	pub := connect(t, natsURL)
	pub.tick("u", 0, 10)
	redis.Stop()
	pub.tick("u", 10, 200)
	onA.wantNumbers("tick", 0, 200)
	onB.wantNumbers("tick", 0, 200)
	for _, n := range []*node{a, b} {
		if reason := n.canaryReason(); reason != "" {
			t.Errorf("the canary of %s is missed: %s", n.id, reason)
		}
	}
	redis.Cont()
	pub.tick("u", 200, 210)
	onA.wantNumbers("tick", 0, 210)
	onB.wantNumbers("tick", 0, 210)
	balanced(t, a, b)
}

// TestCanaryOutlivesLeaders: while a leader that was stopped or killed is replaced
// the other node stays ready, and messages pass again. One that was stopped is
// ready again when it goes on.
func TestCanaryOutlivesLeaders(t *testing.T) {
	t.Parallel()
	a, b, _ := startCluster(t)
	for _, how := range []string{"stopped", "killed"} {
		leader, other := a, b
		if b.metric("bridge_leader") == 1 {
			leader, other = b, a
		}
		if how == "killed" {
			leader.kill()
		} else {
			leader.signal(syscall.SIGSTOP)
		}
		stopped := time.Now()
		waitFor(t, "the other one leads, and its canary is young", func() string {
			if status, body := get(other.url + "/readyz"); status != http.StatusOK {
				t.Fatalf("leader %s: the other node is not ready: %s", how, body)
			}
			age := other.metric("bridge_canary_age_seconds")
			if leads := other.metric("bridge_leader"); leads != 1 || age > 2.5 {
				return fmt.Sprintf("leader %v, canary %v s old", leads, age)
			}
			return ""
		})
		t.Logf("leader %s: the other node led after %v", how, time.Since(stopped))
		if how == "stopped" {
			leader.signal(syscall.SIGCONT)
			leader.ready(t)
		}
	}
}

// TestCanaryIsNobodys: a page cannot take the canary's place, and operators see how
// it is and not as a user.
func TestCanaryIsNobodys(t *testing.T) {
	t.Parallel()
	n, _ := embedded(t)
	if status, answer := n.send(t, `{"userId":"bridge:canary:solo","topic":"bridge:canary","life":"x","n":1}`); status != http.StatusBadRequest || answer["code"] != "INVALID_USER_ID" {
		t.Errorf("POST to the canary: %d %v", status, answer)
	}
	p := open(t, n.url, transports["websocket"])
	answer := p.EmitWithAck("setUserId", "bridge:canary:solo")
	if len(answer) != 1 || !jsonHas(answer[0], "code", "INVALID_USER_ID") {
		t.Errorf("setUserId as the canary: %s", answer)
	}
	n.ready(t)
	var cluster struct {
		Nodes []struct {
			Users  int
			Canary struct {
				AgeMs, LastMs float64
				OK            bool
			}
			Counters struct{ Topics map[string]int }
		}
	}
	waitFor(t, "operators see the canary", func() string {
		n.ask(t, "/api/v1/cluster", &cluster)
		if c := cluster.Nodes[0]; c.Users != 0 || !c.Canary.OK || c.Canary.LastMs <= 0 || c.Canary.AgeMs <= 0 || len(c.Counters.Topics) != 0 {
			return fmt.Sprintf("%+v", c)
		}
		return ""
	})
	var users struct{ Total int }
	if n.ask(t, "/api/v1/users", &users); users.Total != 0 {
		t.Errorf("%d users instead of none", users.Total)
	}
}

func jsonHas(raw json.RawMessage, key, want string) bool {
	var m map[string]any
	return json.Unmarshal(raw, &m) == nil && m[key] == want
}
