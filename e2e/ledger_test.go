package e2e

import (
	"bufio"
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// metrics reads /metrics.
func (n *node) metrics() map[string]float64 {
	_, body := get(n.ops + "/metrics")
	out := make(map[string]float64)
	for s := bufio.NewScanner(strings.NewReader(body)); s.Scan(); {
		name, value, ok := strings.Cut(s.Text(), " ")
		if f, err := strconv.ParseFloat(value, 64); ok && err == nil {
			out[name] = f
		}
	}
	return out
}

// metric reads one metric; -1 means that it is not there.
func (n *node) metric(name string) float64 {
	if v, ok := n.metrics()[name]; ok {
		return v
	}
	return -1
}

// balanced checks that every message a node has read ended in exactly one outcome.
func balanced(t testing.TB, nodes ...*node) {
	t.Helper()
	for _, n := range nodes {
		waitFor(t, "the ledger of "+n.id+" balances", func() string {
			m := n.metrics()
			sum := 0.0
			for name, v := range m {
				if strings.HasPrefix(name, "bridge_intake_outcomes_total{") {
					sum += v
				}
			}
			if received, ok := m["bridge_intake_messages_total"]; !ok || sum != received || m["bridge_intake_in_flight"] != 0 {
				return fmt.Sprintf("received %v, outcomes %v", received, sum)
			}
			return ""
		})
	}
}

// dead counts the dead letters with a reason.
func (p *publisher) dead(code string) int {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	stream, err := p.js.Stream(ctx, "BRIDGE_DEAD")
	if err != nil {
		p.t.Fatal(err)
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter("bridge.dead."+strings.ToLower(code)))
	if err != nil {
		p.t.Fatal(err)
	}
	n := 0
	for _, count := range info.State.Subjects {
		n += int(count)
	}
	return n
}
