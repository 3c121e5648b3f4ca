package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/codewar/socketbridge/e2e/procs"
)

// watch notes what the bridges of a row say about themselves: readiness, as a balancer asks
// for it, warnings and errors in their logs, and alerts, where Prometheus is installed.
type watch struct {
	nodes   []*watched
	prom    *procs.Prometheus // nil: nobody looks at metrics
	since   time.Time         // what fired before does not count
	alerts  string            // set by stop
	end     context.CancelFunc
	running sync.WaitGroup
}

// watched is one bridge.
type watched struct {
	name, addr, log string
	from            int64                    // size of the log at the start
	unready         time.Duration            // in all
	checks          map[string]time.Duration // by the check that failed
}

// watchEvery is how often each bridge is asked.
const watchEvery = 250 * time.Millisecond

// startWatch begins. On an error the caller still has to stop what was started.
func startWatch(dir string, bin binaries, bridges []*bridgeNode) (w *watch, err error) {
	ctx, end := context.WithCancel(context.Background())
	w = &watch{end: end}
	var targets []string
	for _, b := range bridges {
		targets = append(targets, b.ops)
		n := &watched{name: b.Name, addr: b.addr, log: b.LogFile(), checks: make(map[string]time.Duration)}
		if s, err := os.Stat(n.log); err == nil {
			n.from = s.Size()
		}
		w.nodes = append(w.nodes, n)
		w.running.Go(func() { n.ask(ctx) })
	}
	if bin.prometheus == "" {
		return w, nil
	}
	if w.prom, err = procs.StartPrometheus(dir, bin.prometheus, bin.alerts, hurry, targets); err != nil {
		return w, err
	}
	// Until it has looked, it takes all bridges for down.
	err = procs.WaitFor("prometheus has seen a bridge", procs.StartLimit, func() string {
		seen, err := w.ask(`count(up == 1) unless on() ALERTS{alertstate="firing"}`)
		if err == nil && len(seen) == 0 {
			return "it has not"
		}
		if err != nil {
			return err.Error()
		}
		return ""
	})
	w.since = time.Now()
	return w, err
}

// hurry is by how much alerts are hastened: a minute becomes a second. What fires in a fault of
// half a minute would do so in one of half an hour.
const hurry = 60

// ask asks until ctx ends. A bridge that refuses connections is down, which it need not say.
func (n *watched) ask(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for last := time.Now(); ; {
		status, body := fetch(n.addr, "/readyz")
		now := time.Now()
		var answer struct{ Reasons map[string]string }
		switch {
		case status == http.StatusOK:
		case status == http.StatusServiceUnavailable && json.Unmarshal([]byte(body), &answer) == nil:
			n.unready += now.Sub(last)
			for check := range answer.Reasons {
				n.checks[check] += now.Sub(last)
			}
		case strings.Contains(body, "refused"):
		default:
			n.checks["no answer"] += now.Sub(last)
		}
		last = now
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// stop ends asking. It may be called again.
func (w *watch) stop() {
	w.end()
	w.running.Wait()
	if w.prom != nil && w.prom.Process != nil && w.prom.Alive() {
		w.alerts = w.fired()
		w.prom.Kill()
	}
}

// sample is one value of an answer.
type sample struct {
	Metric struct{ Alertname string }
	Value  [2]any
}

// ask asks Prometheus.
func (w *watch) ask(query string) ([]sample, error) {
	var answer struct{ Result []sample }
	err := w.prom.Ask("query", url.Values{"query": {query}}, &answer)
	return answer.Result, err
}

// fired is the alerts that have fired, and for how long.
func (w *watch) fired() string {
	samples, err := w.ask(fmt.Sprintf(`sort_desc(max by (alertname) (count_over_time(ALERTS{alertstate="firing"}[%ds])))`, int(time.Since(w.since).Seconds())))
	if err != nil {
		return err.Error()
	}
	var words []string
	for _, s := range samples {
		words = append(words, fmt.Sprintf("%s %vs", s.Metric.Alertname, s.Value[1]))
	}
	return strings.Join(words, ", ")
}

// said is what was noted, in words; the watch must have stopped.
func (w *watch) said() (lines []string) {
	var unready []string
	counts := make(map[string]int)
	for _, n := range w.nodes {
		if len(n.checks) > 0 {
			var checks []string
			for _, check := range slices.Sorted(maps.Keys(n.checks)) {
				checks = append(checks, fmt.Sprintf("%s %.1fs", check, n.checks[check].Seconds()))
			}
			unready = append(unready, fmt.Sprintf("%s %.1fs (%s)", n.name, n.unready.Seconds(), strings.Join(checks, ", ")))
		}
		n.count(counts)
	}
	if len(unready) > 0 {
		lines = append(lines, "unready: "+strings.Join(unready, ", "))
	}
	if len(counts) > 0 {
		lines = append(lines, "log: "+tally(counts))
	}
	if w.alerts != "" {
		lines = append(lines, "alerts: "+w.alerts)
	}
	return lines
}

// tally is counts in words.
func tally(counts map[string]int) string {
	var words []string
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		words = append(words, fmt.Sprintf("%s x%d", what, counts[what]))
	}
	return strings.Join(words, "; ")
}

// count counts the lines of the log from warnings on, and changes of leader.
func (n *watched) count(counts map[string]int) {
	text, err := os.ReadFile(n.log)
	if err != nil || int64(len(text)) < n.from {
		return
	}
	for s := bufio.NewScanner(bytes.NewReader(text[n.from:])); s.Scan(); {
		_, rest, ok := strings.Cut(s.Text(), "level=")
		if !ok {
			continue
		}
		level, rest, _ := strings.Cut(rest, " ")
		msg, ok := strings.CutPrefix(rest, "msg=")
		switch {
		case !ok:
			continue
		case strings.HasPrefix(msg, `"`):
			msg, _, _ = strings.Cut(msg[1:], `"`)
		default:
			msg, _, _ = strings.Cut(msg, " ")
		}
		if level != "INFO" && level != "DEBUG" || msg == "leader_elected" {
			counts[level+" "+msg]++
		}
	}
}
