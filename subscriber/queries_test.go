package subscriber

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/subscriber/natstest"
)

func TestQuestions(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	all := []bridge.NodeID{"a", "b", "c", "gone"}
	clients := make(map[bridge.NodeID]*Client)
	told := make(chan string, 10)
	stuck := make(chan struct{})
	for _, node := range all[:3] {
		c := ready(t, s, node)
		clients[node] = c
		if err := c.ServeQueries(func(kind string, body []byte) []byte {
			switch {
			case kind == "tell":
				told <- string(node) + " " + string(body)
				return nil
			case kind == "wait" && node == "c":
				<-stuck
			case kind == "unknown":
				return nil
			}
			return []byte(string(node) + " " + kind + " " + string(body))
		}); err != nil {
			t.Fatal(err)
		}
		if err := c.nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(node bridge.NodeID, kind string, limit time.Duration) map[bridge.NodeID]string {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		got := make(map[bridge.NodeID]string)
		for node, data := range clients[node].QueryNodes(ctx, all, kind, []byte("?")) {
			got[node] = string(data)
		}
		return got
	}
	everybody := map[bridge.NodeID]string{"a": "a state ?", "b": "b state ?", "c": "c state ?"}
	began := time.Now()
	if d := cmp.Diff(everybody, ask("a", "state", 10*time.Second)); d != "" {
		t.Error("(-want +got):\n", d)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("a node that is gone was waited for: %v", took)
	}
	if d := cmp.Diff(map[bridge.NodeID]string{"a": "a wait ?", "b": "b wait ?"}, ask("b", "wait", 100*time.Millisecond)); d != "" {
		t.Error("one that is stuck (-want +got):\n", d)
	}
	close(stuck)
	if got := ask("a", "unknown", 100*time.Millisecond); len(got) != 0 {
		t.Errorf("unknown question: %v", got)
	}
	for _, node := range []bridge.NodeID{"a", "b"} {
		clients["a"].NotifyNode(node, "tell", []byte("hear"))
		if got := <-told; got != string(node)+" hear" {
			t.Errorf("%s was told %q", node, got)
		}
	}

	s.Shutdown()
	waitFor(t, "nats is away", func() bool { return clients["a"].conn.err() != nil })
	began = time.Now()
	if d := cmp.Diff(map[bridge.NodeID]string{"a": "a state ?"}, ask("a", "state", 10*time.Second)); d != "" {
		t.Error("without NATS (-want +got):\n", d)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v without NATS", took)
	}
	s.Start()
	waitFor(t, "all answer again", func() bool { return cmp.Equal(everybody, ask("a", "state", time.Second)) })
	if err := clients["a"].ServeQueries(nil); err == nil {
		t.Error("served twice")
	}
}

func TestRecentLetters(t *testing.T) {
	t.Parallel()
	_, c, _ := deadLetterOperator(t)
	newest, total, err := c.RecentDeadLetters(t.Context(), 10)
	if err != nil || len(newest) != 0 || total != 0 {
		t.Errorf("none yet: %v %d %v", newest, total, err)
	}
	for i, body := range []string{`{"userId":"u 1%"`, "{not json", `{"userId":42,]`} {
		poison(t, c, "codewar.t", bridge.CodeInvalidJSON, body, nil)
		if newest, total, err = c.RecentDeadLetters(t.Context(), 2); err != nil || total != uint64(i+1) || len(newest) != min(i+1, 2) || newest[0].Seq != total {
			t.Fatalf("after %d: %+v %d %v", i+1, newest, total, err)
		}
	}
	if newest[0].User != "42" || newest[1].User != "" || newest[0].Size != 14 || newest[0].Code != bridge.CodeInvalidJSON {
		t.Errorf("got %+v", newest)
	}
	if all, _, err := c.RecentDeadLetters(t.Context(), 1000); err != nil || len(all) != 3 || all[2].User != "u 1%" {
		t.Errorf("all: %+v %v", all, err)
	}
}
