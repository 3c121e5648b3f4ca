package observe

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/codewar/socketbridge/e2e/procs"
)

// hurry is by how much the test shortens every time in the rules: a minute becomes a
// second.
const hurry = 60

type prometheus struct{ *procs.Prometheus }

func startPrometheus(t *testing.T, dir, path string, targets []string) prometheus {
	t.Helper()
	p, err := procs.StartPrometheus(dir, path, deployed("prometheus/alerts.yml"), hurry, targets)
	if p != nil {
		t.Cleanup(p.Kill)
	}
	must(t, err)
	return prometheus{p}
}

// refusal says why a URL does not answer 200; nothing when it does.
func refusal(url string) string {
	res, err := asking.Get(url)
	if err != nil {
		return err.Error()
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return res.Status
	}
	return ""
}

// asking keeps no connections, which would outlive the test.
var asking = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}

// series is how many series a query has now, and how many of them are no number.
func (p prometheus) series(expr string) (all, strange int, err error) {
	var data struct{ Result []struct{ Value [2]any } }
	if err := p.Ask("query", url.Values{"query": {expr}}, &data); err != nil {
		return 0, 0, err
	}
	for _, s := range data.Result {
		if s.Value[1] == "NaN" {
			strange++
		}
	}
	return len(data.Result), strange, nil
}

// alert is one that Prometheus has.
type alert struct {
	Labels map[string]string
	State  string
}

// firing returns the alerts that fire, by name.
func (p prometheus) firing(t *testing.T) map[string][]alert {
	t.Helper()
	var data struct{ Alerts []alert }
	must(t, p.Ask("alerts", nil, &data))
	found := make(map[string][]alert)
	for _, a := range data.Alerts {
		if a.State == "firing" {
			found[a.Labels["alertname"]] = append(found[a.Labels["alertname"]], a)
		}
	}
	return found
}

// loaded returns the names of the alerts that Prometheus evaluates without an error.
func (p prometheus) loaded(t *testing.T) (names []string) {
	t.Helper()
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	must(t, p.Ask("rules", nil, &data))
	for _, g := range data.Groups {
		for _, r := range g.Rules {
			if r.Health != "ok" {
				t.Errorf("%s is %s: %s", r.Name, r.Health, r.LastError)
			}
			names = append(names, r.Name)
		}
	}
	return names
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
