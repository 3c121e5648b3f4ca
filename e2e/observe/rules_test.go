package observe

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// rules is what is in a file of alert rules.
type rules struct {
	Groups []struct {
		Name  string `yaml:"name"`
		Rules []rule `yaml:"rules"`
	} `yaml:"groups"`
}

type rule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for,omitempty"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func readRules(t *testing.T) (file rules) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(read(t, deployed("prometheus/alerts.yml"))), &file); err != nil {
		t.Fatal(err)
	}
	return file
}

func (r rules) alerts() (names []string) {
	for _, g := range r.Groups {
		for _, rule := range g.Rules {
			names = append(names, rule.Alert)
		}
	}
	return names
}

// metricName finds the metrics in an expression: names that are followed by labels.
var metricName = regexp.MustCompile(`([a-z][a-z0-9_]+)\{`)

// documented are the metrics of docs/metrics.md, and what Prometheus makes of them.
func documented(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{"up": true}
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (\\w+)").FindAllStringSubmatch(read(t, "../../docs/metrics.md"), -1) {
		names[m[1]] = true
		if m[2] == "histogram" {
			names[m[1]+"_bucket"], names[m[1]+"_count"], names[m[1]+"_sum"] = true, true, true
		}
	}
	return names
}

// TestRules: promtool finds them right, also in their unit tests, and each alert says
// how bad it is, what happens and which section of the runbook helps.
func TestRules(t *testing.T) {
	t.Parallel()
	promtool := needs(t, "promtool")
	for _, args := range [][]string{
		{"check", "rules", "alerts.yml"}, {"check", "config", "--syntax-only", "prometheus.yml"}, {"test", "rules", "alerts_test.yml"},
	} {
		cmd := exec.Command(promtool, args...)
		cmd.Dir = deployed("prometheus")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	runbook, known := anchors(read(t, "../../docs/operations.md")), documented(t)
	for _, g := range readRules(t).Groups {
		for _, r := range g.Rules {
			if s := r.Labels["severity"]; s != "page" && s != "warn" {
				t.Errorf("%s: severity %q", r.Alert, s)
			}
			if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("%s: no summary or no description", r.Alert)
			}
			_, anchor, _ := strings.Cut(r.Annotations["runbook_url"], "/docs/operations.md#")
			if anchor != strings.ToLower(r.Alert) || !slices.Contains(runbook, anchor) {
				t.Errorf("%s: docs/operations.md has no section for %q", r.Alert, r.Annotations["runbook_url"])
			}
			for _, m := range metricName.FindAllStringSubmatch(r.Expr, -1) {
				if !known[m[1]] {
					t.Errorf("%s: metric %s is not in docs/metrics.md", r.Alert, m[1])
				}
			}
		}
	}
}

// anchors are the sections of a page, as GitHub names them in links.
func anchors(page string) (names []string) {
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(page, -1) {
		name := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		names = append(names, strings.ReplaceAll(name, " ", "-"))
	}
	return names
}

// TestLinks: every link to a section of the runbook, and of the pages on metrics and
// limits, leads somewhere.
func TestLinks(t *testing.T) {
	t.Parallel()
	for _, page := range []string{"operations.md", "metrics.md"} {
		text := read(t, filepath.Join("../../docs", page))
		for _, m := range regexp.MustCompile(`\]\(([\w./-]*)(?:#([\w-]+))?\)`).FindAllStringSubmatch(text, -1) {
			target := filepath.Join("../../docs", m[1])
			if m[1] == "" {
				target = filepath.Join("../../docs", page)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s: %v", page, m[0], err)
				continue
			}
			if m[2] != "" && !slices.Contains(anchors(read(t, target)), m[2]) {
				t.Errorf("%s links to a section that does not exist: %s", page, m[0])
			}
		}
	}
}

// TestCompose: what the compose file mounts exists, and its Prometheus asks each bridge
// where that serves its metrics.
func TestCompose(t *testing.T) {
	t.Parallel()
	var compose struct {
		Services map[string]struct {
			Volumes     []string          `yaml:"volumes"`
			Environment map[string]string `yaml:"environment"`
		} `yaml:"services"`
	}
	if err := yaml.Unmarshal([]byte(read(t, "../../docker-compose.yml")), &compose); err != nil {
		t.Fatal(err)
	}
	for name, s := range compose.Services {
		for _, v := range s.Volumes {
			if from, _, _ := strings.Cut(v, ":"); strings.HasPrefix(from, "./") {
				if _, err := os.Stat(filepath.Join("../..", from)); err != nil {
					t.Errorf("%s mounts %s: %v", name, from, err)
				}
			}
		}
	}
	var config struct {
		Scrapes []struct {
			Job     string `yaml:"job_name"`
			Statics []struct {
				Targets []string `yaml:"targets"`
			} `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal([]byte(read(t, deployed("prometheus/prometheus.yml"))), &config); err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for name, s := range compose.Services {
		if addr := s.Environment["OPS_ADDR"]; addr != "" {
			want = append(want, name+addr)
		}
	}
	for _, s := range config.Scrapes {
		for _, static := range s.Statics {
			got = append(got, static.Targets...)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if len(want) == 0 || !slices.Equal(want, got) {
		t.Errorf("Prometheus asks %q, the bridges serve %q", got, want)
	}
}
