package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/codewar/socketbridge/gateway/siotest"
)

// ask gets one of the operators' routes.
func (n *node) ask(t *testing.T, path string, answer any) {
	t.Helper()
	res, err := client.Get(n.ops + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d", path, res.StatusCode)
	}
	if err := json.NewDecoder(res.Body).Decode(answer); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// TestOperatorsAskEachNode: any node answers for the whole cluster, shows what another
// settles, and names one that does not answer.
func TestOperatorsAskEachNode(t *testing.T) {
	t.Parallel()
	a, b, _ := startCluster(t)
	type cluster struct {
		Leader  string
		Missing []string
		Nodes   []struct {
			ID      string
			Sockets int
			Push    struct{ Count int }
		}
	}
	var c cluster
	waitFor(t, "both nodes answer", func() string {
		c = cluster{}
		if a.ask(t, "/api/v1/cluster", &c); len(c.Nodes) == 2 && c.Leader != "" && len(c.Missing) == 0 {
			return ""
		}
		return fmt.Sprintf("%+v", c)
	})
	leader, other := a, b
	if c.Leader == b.id {
		leader, other = b, a
	}

	p := open(t, leader.url, transports["websocket"])
	p.setUser("u")
	q := open(t, other.url, transports["polling"])
	q.setUser("u")
	type report struct {
		Verdict  struct{ Code, Text string }
		Sockets  []struct{ SocketID, Node, Transport, LastOffset string }
		Events   []struct{ Event, Node string }
		Missing  []string
		Messages []struct {
			Verdict struct{ Code string }
			Tries   []struct{ Node string }
		}
	}
	if status, answer := other.send(t, `{"userId":"u","topic":"tick","n":0}`); status != http.StatusOK || answer["sockets"] != 2.0 {
		t.Errorf("%d %v", status, answer)
	}
	for _, n := range []*node{leader, other} {
		var r report
		waitFor(t, "the message is in the look-up", func() string {
			r = report{}
			if n.ask(t, "/api/v1/users/u", &r); len(r.Messages) == 1 && r.Verdict.Code == "pushed" {
				return ""
			}
			return fmt.Sprintf("%+v", r)
		})
		if len(r.Sockets) != 2 || r.Sockets[0].Node != leader.id || r.Sockets[1].Node != other.id || r.Sockets[0].Transport != "websocket" ||
			r.Sockets[0].LastOffset != r.Sockets[1].LastOffset || len(r.Events) != 2 || len(r.Messages[0].Tries) != 2 || len(r.Missing) != 0 {
			t.Errorf("asked of %s: %+v", n.id, r)
		}
		var users struct {
			Users []struct {
				UserID  string
				Sockets int
				Nodes   []string
			}
			Total int
		}
		n.ask(t, "/api/v1/users", &users)
		if users.Total != 1 || len(users.Users) != 1 || users.Users[0].Sockets != 2 || len(users.Users[0].Nodes) != 2 {
			t.Errorf("users: %+v", users)
		}
	}
	// What was forwarded is timed where it was handed to a socket.
	waitFor(t, "both nodes have pushed", func() string {
		other.ask(t, "/api/v1/cluster", &c)
		if len(c.Nodes) == 2 && c.Nodes[0].Push.Count > 0 && c.Nodes[1].Push.Count > 0 {
			return ""
		}
		return fmt.Sprintf("%+v", c)
	})

	// The live tail of the node that does not lead shows what the leader settles.
	console := siotest.Dial(t, other.ops, siotest.Options{Path: "/console/socket.io/"})
	console.Emit("tail", map[string]string{"user": "u", "topic": "ti*"})
	waitFor(t, "a row arrives", func() string {
		_, _ = leader.send(t, `{"userId":"u","topic":"other","n":1}`)
		_, _ = leader.send(t, `{"userId":"u","topic":"tick","n":1}`)
		for _, e := range console.Pending() {
			if e.Name == "tail" {
				return ""
			}
		}
		return "none"
	})
	var rows struct {
		Rows []struct {
			UserID, Topic, Outcome, Node string
			Sockets                      int
		}
	}
	if err := json.Unmarshal(console.EventNamed("tail").Args[0], &rows); err != nil || len(rows.Rows) == 0 {
		t.Fatalf("%+v %v", rows, err)
	}
	for _, row := range rows.Rows {
		if row.Topic != "tick" || row.UserID != "u" || row.Outcome != "pushed" || row.Node != leader.id || row.Sockets != 2 {
			t.Errorf("row %+v", row)
		}
	}
	var samples struct {
		Nodes []map[string]any
	}
	if err := json.Unmarshal(console.EventNamed("sample").Args[0], &samples); err != nil || len(samples.Nodes) != 2 || samples.Nodes[0]["id"] != a.id || samples.Nodes[0]["outcome.pushed"] == nil {
		t.Errorf("samples %+v, %v", samples, err)
	}

	// One that stands still is missing until it goes on.
	missing := func() string {
		c = cluster{}
		began := time.Now()
		if other.ask(t, "/api/v1/cluster", &c); time.Since(began) > 2*time.Second {
			t.Errorf("the answer took %v", time.Since(began))
		}
		if slices.Equal(c.Missing, []string{leader.id}) && len(c.Nodes) == 1 {
			return ""
		}
		return fmt.Sprintf("%+v", c)
	}
	leader.signal(syscall.SIGSTOP)
	waitFor(t, "the stopped node is missing", missing)
	leader.signal(syscall.SIGCONT)
	waitFor(t, "it answers again", func() string {
		if other.ask(t, "/api/v1/cluster", &c); len(c.Missing) == 0 && len(c.Nodes) == 2 {
			return ""
		}
		return fmt.Sprintf("%+v", c)
	})

	// One that is killed is missing as long as its lease lives, and then gone.
	leader.kill()
	waitFor(t, "the killed node is missing", missing)
	var r report
	other.ask(t, "/api/v1/users/u", &r)
	if len(r.Missing) > 0 && len(r.Sockets) != 1 {
		t.Errorf("report: %+v", r)
	}
	waitFor(t, "it is forgotten", func() string {
		if other.ask(t, "/api/v1/cluster", &c); len(c.Missing) == 0 && len(c.Nodes) == 1 {
			return ""
		}
		return fmt.Sprintf("%+v", c)
	})
}
