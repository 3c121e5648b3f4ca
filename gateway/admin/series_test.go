package admin

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codewar/socketbridge/bridge"
)

func TestSeries(t *testing.T) {
	t.Parallel()
	s := newSeries()
	if a := s.read(10); len(a.Fields) != 0 || s.newestSample() != nil {
		t.Errorf("empty: %+v", a)
	}
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	s.add(at(0), sample{"sockets": 1})
	s.add(at(1).Add(30*time.Millisecond), sample{"sockets": 2, "topic.t": 0.1234})
	s.add(at(4), sample{"sockets": 3, "topic.t": 5}) // two seconds were missed
	want := seriesAnswer{From: at(0), Fields: map[string][]float64{"sockets": {1, 2, 3, 3, 3}, "topic.t": {0, 0.123, 5, 5, 5}}}
	if d := cmp.Diff(want, s.read(900)); d != "" {
		t.Error("(-want +got):\n", d)
	}
	want = seriesAnswer{From: at(3), Fields: map[string][]float64{"sockets": {3, 3}, "topic.t": {5, 5}}}
	if d := cmp.Diff(want, s.read(2)); d != "" {
		t.Error("the newest two (-want +got):\n", d)
	}
	for n := range 2 * seriesLength {
		s.add(at(5+n), sample{"sockets": float64(n)})
	}
	a := s.read(10 * seriesLength)
	if v := a.Fields["sockets"]; len(v) != seriesLength || v[0] != seriesLength || v[seriesLength-1] != 2*seriesLength-1 || !a.From.Equal(at(5+seriesLength)) {
		t.Errorf("full: %d samples from %v, %v to %v", len(v), a.From, v[0], v[len(v)-1])
	}
	s.add(at(100_000), sample{"sockets": 7}) // after a long sleep
	if v := s.read(seriesLength).Fields["sockets"]; v[0] != 7 {
		t.Errorf("after a long sleep: %v", v[0])
	}
}

func TestSampleOf(t *testing.T) {
	t.Parallel()
	before := &NodeState{Counters: Counters{
		Received: 100, Outcomes: map[bridge.Outcome]uint64{bridge.Pushed: 90, bridge.Dead: 1},
		Drops: map[string]uint64{"slow": 1}, Topics: map[string]uint64{"a": 5},
	}}
	now := &NodeState{Sockets: 3, Users: 2, RSS: 1 << 20, NATS: NATS{Lag: 4}, Store: StoreState{PingMillis: 0.5}, Push: Push{P50: 1, P99: 2, P999: 3}, Counters: Counters{
		Received: 300, Outcomes: map[bridge.Outcome]uint64{bridge.Pushed: 290, bridge.Dead: 1},
		Drops: map[string]uint64{"slow": 2, "ping timeout": 1}, Topics: map[string]uint64{"a": 5, "b": 4},
	}}
	want := sample{
		"sockets": 3, "users": 2, "received": 100, "p50Ms": 1, "p99Ms": 2, "p999Ms": 3, "lag": 4, "storeMs": 0.5, "rssBytes": 1 << 20,
		"dropped": 1, "connected": 3, "topic.a": 0, "topic.b": 2,
		"outcome.pushed": 100, "outcome.dead": 0, "outcome.inboxed": 0, "outcome.offline": 0, "outcome.duplicate": 0,
	}
	if d := cmp.Diff(want, sampleOf(before, now, 6, 2)); d != "" {
		t.Error("(-want +got):\n", d)
	}
}
