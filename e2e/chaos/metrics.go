package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/codewar/socketbridge/e2e/procs"
)

// asking talks HTTP without keeping connections, which would outlive a bridge.
var asking = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 3 * time.Second}

func fetch(addr, path string) (status int, body string) {
	res, err := asking.Get("http://" + addr + path)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(b)
}

// metrics reads /metrics; empty when the bridge does not answer.
func (n *bridgeNode) metrics() map[string]float64 {
	m := make(map[string]float64)
	_, body := fetch(n.ops, "/metrics")
	for s := bufio.NewScanner(strings.NewReader(body)); s.Scan(); {
		name, value, ok := strings.Cut(s.Text(), " ")
		if f, err := strconv.ParseFloat(value, 64); ok && err == nil {
			m[name] = f
		}
	}
	return m
}

// balanced waits until every message that the bridge has read has its outcome. A
// panic, though caught, is a breach too.
func (n *bridgeNode) balanced() error {
	if panics := n.metrics()["bridge_gateway_panics_total"]; panics != 0 {
		return fmt.Errorf("%s has caught %v panics, see %s", n.Name, panics, n.LogFile())
	}
	return procs.WaitFor("the ledger of "+n.Name+" balances", 10*time.Second, func() string {
		m := n.metrics()
		sum := 0.0
		for name, v := range m {
			if strings.HasPrefix(name, "bridge_intake_outcomes_total{") {
				sum += v
			}
		}
		received, ok := m["bridge_intake_messages_total"]
		switch {
		case !ok:
			return "no metrics"
		case sum != received || m["bridge_intake_in_flight"] != 0:
			return fmt.Sprintf("received %v, outcomes %v, in flight %v", received, sum, m["bridge_intake_in_flight"])
		}
		return ""
	})
}
