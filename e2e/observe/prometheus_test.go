package observe

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/codewar/socketbridge/e2e/procs"
)

// prometheus is a server that scrapes and evaluates each second.
type prometheus struct {
	*procs.Process
	url string
}

func startPrometheus(t *testing.T, dir, path string, targets []string) *prometheus {
	t.Helper()
	port, err := procs.FreePort()
	must(t, err)
	list, err := json.Marshal(targets)
	must(t, err)
	readRules(t).hurried(t, filepath.Join(dir, "alerts.yml"))
	config := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [alerts.yml]\n"+
		"scrape_configs: [{job_name: bridge, static_configs: [{targets: %s}]}]\n", list)
	must(t, os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600))
	p := &prometheus{url: "http://127.0.0.1:" + port, Process: &procs.Process{
		Name: "prometheus", Path: path, Dir: dir, Env: procs.Environment(),
		Args: []string{
			"--config.file=" + filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path=" + filepath.Join(dir, "tsdb"),
			"--web.listen-address=127.0.0.1:" + port, "--log.level=warn",
		},
	}}
	must(t, p.Start())
	t.Cleanup(p.Kill)
	must(t, procs.WaitFor("prometheus is ready", procs.StartLimit, func() string { return refusal(p.url + "/-/ready") }))
	return p
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

// ask calls Prometheus' API and decodes what it answers into data.
func (p *prometheus) ask(path string, query url.Values, data any) error {
	res, err := asking.Get(p.url + "/api/v1/" + path + "?" + query.Encode())
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", path, answer.Error)
	}
	return nil
}

// series is how many series a query has now, and how many of them are no number.
func (p *prometheus) series(expr string) (all, strange int, err error) {
	var data struct{ Result []struct{ Value [2]any } }
	if err := p.ask("query", url.Values{"query": {expr}}, &data); err != nil {
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
func (p *prometheus) firing(t *testing.T) map[string][]alert {
	t.Helper()
	var data struct{ Alerts []alert }
	must(t, p.ask("alerts", nil, &data))
	found := make(map[string][]alert)
	for _, a := range data.Alerts {
		if a.State == "firing" {
			found[a.Labels["alertname"]] = append(found[a.Labels["alertname"]], a)
		}
	}
	return found
}

// loaded returns the names of the alerts that Prometheus evaluates without an error.
func (p *prometheus) loaded(t *testing.T) (names []string) {
	t.Helper()
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	must(t, p.ask("rules", nil, &data))
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
