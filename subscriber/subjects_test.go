package subscriber

import (
	"context"
	"testing"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/subscriber/natstest"
)

func TestNamesOfADeployment(t *testing.T) {
	for _, tt := range []struct{ prefix, stream, dead, deadSubjects, node, bucket, keys string }{
		{"codewar", "CODEWAR", "BRIDGE_DEAD", "bridge.dead.", "bridge.codewar.node.n", "BRIDGE_LEASE", "bridge"},
		{"contest", "CONTEST", "BRIDGE_DEAD_CONTEST", "bridge.contest.dead.", "bridge.contest.node.n", "BRIDGE_LEASE_CONTEST", "bridge:contest"},
		{"eu.contest", "EU_CONTEST", "BRIDGE_DEAD_EU_CONTEST", "bridge.eu.contest.dead.", "bridge.eu.contest.node.n", "BRIDGE_LEASE_EU_CONTEST", "bridge:eu.contest"},
	} {
		cfg := DefaultConfig()
		cfg.SubjectPrefix = tt.prefix
		if err := cfg.Validate(); err != nil {
			t.Errorf("%s: %v", tt.prefix, err)
		}
		cfg = cfg.withNames()
		got := []string{cfg.Stream.Name, cfg.DeadLetter.Stream, cfg.deadSubjects(), cfg.nodeSubject("n"), cfg.leaseBucket(), cfg.KeyPrefix()}
		for i, want := range []string{tt.stream, tt.dead, tt.deadSubjects, tt.node, tt.bucket, tt.keys} {
			if got[i] != want {
				t.Errorf("%s: got %q, want %q", tt.prefix, got[i], want)
			}
		}
	}
	cfg := DefaultConfig()
	cfg.SubjectPrefix, cfg.Stream.Name, cfg.DeadLetter.Stream = "contest", "MINE", "DEAD"
	if cfg = cfg.withNames(); cfg.Stream.Name != "MINE" || cfg.DeadLetter.Stream != "DEAD" {
		t.Errorf("configured names were replaced: %q, %q", cfg.Stream.Name, cfg.DeadLetter.Stream)
	}
}

// TestTwoDeploymentsInOneAccount runs two with nodes of the same name on one server, which
// differ in nats.subject_prefix only.
func TestTwoDeploymentsInOneAccount(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	prefixes := []string{"codewar", "contest"}
	clients := make([]*Client, len(prefixes))
	ends := make([]linkEnd, len(prefixes))
	for i, prefix := range prefixes {
		cfg := testConfig(s)
		cfg.SubjectPrefix = prefix
		c := open(t, cfg, "a", discard)
		waitFor(t, prefix+" is ready", func() bool { return c.Ready() == nil })
		ends[i].serve(t, c)
		if err := c.ServeQueries(func(string, []byte) []byte { return []byte(prefix) }); err != nil {
			t.Fatal(err)
		}
		if err := c.nc.Flush(); err != nil {
			t.Fatal(err)
		}
		clients[i] = c
	}
	for i, prefix := range prefixes {
		cfg := testConfig(s)
		cfg.SubjectPrefix = prefix
		other := open(t, cfg, "b", discard)
		waitFor(t, "second node of "+prefix, func() bool { return other.Ready() == nil })
		if a := <-forwardTo(other, 1, "a", one(uint64(i+1))); a.err != nil {
			t.Errorf("%s: forward: %v", prefix, a.err)
		}
		if got := other.QueryNodes(context.Background(), []bridge.NodeID{"a"}, "who", nil); string(got["a"]) != prefix {
			t.Errorf("%s was answered by %q", prefix, got["a"])
		}
		publish(t, other, i*10, 1)
		poison(t, other, prefix+".t", bridge.CodeInvalidJSON, "{", nil)
		if n := len(deadLetters(t, clients[i])); n != 1 {
			t.Errorf("%s has %d dead letters, want its own", prefix, n)
		}
		if got := ends[i].all(); len(got) == 0 || got[len(got)-1] != []string{"1 ", "2 "}[i] {
			t.Errorf("%s was forwarded %q", prefix, got)
		}
	}
	if n := ends[0].count("2 ") + ends[1].count("1 "); n > 0 {
		t.Errorf("%d forwards crossed over", n)
	}
	for i, c := range clients {
		heard := clients[1-i].newTestHandover(t)
		c.newTestHandover(t).handOver(t.Context())
		heard.mu.Lock()
		if heard.asker != nil {
			t.Errorf("a leader of %s that resigns was heard in the other deployment", prefixes[i])
		}
		heard.mu.Unlock()
	}
}

// newTestHandover listens until the test ends.
func (c *Client) newTestHandover(t testing.TB) *handover {
	t.Helper()
	h := newHandover(c, discard)
	end, err := c.subscribe(h.subject, "listen", h.onResign)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(end)
	return h
}
