package app_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/codewar/socketbridge/bridge/certtest"
	"github.com/codewar/socketbridge/internal/cli"
	"github.com/codewar/socketbridge/internal/testutil/capture"
	"github.com/codewar/socketbridge/internal/testutil/golden"
	"github.com/codewar/socketbridge/internal/testutil/launch"
	"github.com/codewar/socketbridge/store/redistest"
)

// fullMetrics are those of a program that has everything: Redis, tokens, API keys,
// TLS. Nothing has happened in it yet.
func fullMetrics(t *testing.T) (text string) {
	t.Helper()
	redis, pair := redistest.Server(t), certtest.New(t).Issue("bridge")
	t.Chdir(t.TempDir())
	operators := launch.FreeAddr(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var log capture.Text
	status := make(chan int, 1)
	go func() {
		status <- cli.Run(ctx, []string{
			"--set", "http.addr=" + launch.FreeAddr(t), "--set", "ops.addr=" + operators, "--set", "nats.embedded.addr=" + launch.FreeAddr(t),
			"--set", "http.tls.cert=" + pair.Cert, "--set", "http.tls.key=" + pair.Key, "--set", "redis.addrs=" + redis.Addr,
			"--set", "auth.mode=jwt", "--set", "auth.secrets=k:" + strings.Repeat("s", 32),
			"--set", "auth.api_keys=judge:" + strings.Repeat("0", 64),
		}, io.Discard, &log)
	}()
	p := program{&launch.Program{URL: "http://" + operators}}
	code := 0
	for deadline := time.Now().Add(20 * time.Second); code != http.StatusOK && time.Now().Before(deadline); <-time.After(10 * time.Millisecond) {
		code, _ = p.Get("/readyz")
	}
	code, text = p.Get("/metrics")
	cancel()
	if stopped := <-status; code != http.StatusOK || stopped != exitStopped {
		t.Fatalf("/metrics answered %d, exit status %d:\n%s", code, stopped, &log)
	}
	return text
}

func parseMetrics(t *testing.T, text string) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// TestMetricNames is the promise that dashboards rely on: renaming a metric or a
// label is a breaking change for the changelog. Every label value is there before
// anything has happened.
func TestMetricNames(t *testing.T) {
	file, err := filepath.Abs("testdata/metrics.golden")
	if err != nil {
		t.Fatal(err)
	}
	text := fullMetrics(t)
	families := parseMetrics(t, text)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(families)) {
		if strings.HasPrefix(name, "bridge_") {
			fmt.Fprintf(&b, "%s %s%s\n", name, strings.ToLower(families[name].GetType().String()), labels(families[name]))
		} else if !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") && !strings.HasPrefix(name, "promhttp_") {
			t.Errorf("%s is neither ours nor the libraries'", name)
		}
	}
	golden.Check(t, file, []byte(b.String()))
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "bridge_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// labels spells a family's labels with their values, but for what differs from
// one build to the next.
func labels(f *dto.MetricFamily) string {
	values := make(map[string][]string)
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			values[l.GetName()] = append(values[l.GetName()], l.GetValue())
		}
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(values)) {
		set := strings.Join(slices.Compact(slices.Sorted(slices.Values(values[name]))), "|")
		if f.GetName() == "bridge_build_info" {
			set = "..."
		}
		fmt.Fprintf(&b, " %s=%s", name, set)
	}
	return b.String()
}

// TestMetricsDocument: docs/metrics.md describes every metric, with its type, labels
// and their values, and none that does not exist.
func TestMetricsDocument(t *testing.T) {
	page, err := os.ReadFile(root + "docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	type row struct{ kind, labels string }
	rows := make(map[string]row)
	for line := range strings.Lines(string(page)) {
		if cells := strings.Split(line, "|"); len(cells) == 8 && strings.HasPrefix(strings.TrimSpace(cells[1]), "`") {
			rows[strings.Trim(cells[1], " `")] = row{strings.TrimSpace(cells[2]), cells[4]}
		}
	}
	families := parseMetrics(t, fullMetrics(t))
	for name, f := range families {
		r, documented := rows[name]
		if !documented {
			if strings.HasPrefix(name, "bridge_") {
				t.Errorf("%s is not documented", name)
			}
			continue
		}
		if kind := strings.ToLower(f.GetType().String()); r.kind != kind {
			t.Errorf("%s is a %s, documented as %s", name, kind, cmp.Or(r.kind, "nothing"))
		}
		checkLabels(t, f, r.labels)
	}
	for name := range rows {
		if families[name] == nil {
			t.Errorf("%s is documented and does not exist", name)
		}
	}
}

// checkLabels holds a family's labels against what is said of them, and their
// values where those follow the label's name: `label`: `value`, `value`.
func checkLabels(t *testing.T, f *dto.MetricFamily, said string) {
	t.Helper()
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			if !strings.Contains(said, "`"+l.GetName()+"`") {
				t.Errorf("%s: label %s is not documented", f.GetName(), l.GetName())
			}
			if strings.Contains(said, "`"+l.GetName()+"`: `") && !strings.Contains(said, "`"+l.GetValue()+"`") {
				t.Errorf("%s: %s=%q is not documented", f.GetName(), l.GetName(), l.GetValue())
			}
		}
	}
}
