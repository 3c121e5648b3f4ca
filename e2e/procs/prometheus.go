package procs

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Prometheus is a server that scrapes and evaluates each second.
type Prometheus struct {
	*Process
	url string
}

// StartPrometheus runs the program at path. It scrapes the targets (host and port) as job
// "bridge" and evaluates the file of alert rules with every time in them divided by hurry:
// thresholds stay. On an error the caller still has to kill the process, if there is one.
func StartPrometheus(dir, path, rules string, hurry int, targets []string) (p *Prometheus, err error) {
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	list, err := json.Marshal(targets)
	if err != nil {
		return nil, fmt.Errorf("encode targets: %w", err)
	}
	text, err := os.ReadFile(rules)
	if err != nil {
		return nil, fmt.Errorf("read alert rules: %w", err)
	}
	config := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [alerts.yml]\n"+
		"scrape_configs: [{job_name: bridge, static_configs: [{targets: %s}]}]\n", list)
	for name, content := range map[string][]byte{"alerts.yml": hurried(text, hurry), "prometheus.yml": []byte(config)} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return nil, fmt.Errorf("write %s: %w", name, err)
		}
	}
	p = &Prometheus{url: "http://127.0.0.1:" + port, Process: &Process{
		Name: "prometheus", Path: path, Dir: dir, Env: Environment(),
		Args: []string{
			"--config.file=" + filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path=" + filepath.Join(dir, "tsdb"),
			"--web.listen-address=127.0.0.1:" + port, "--log.level=warn",
		},
	}}
	if err := p.Start(); err != nil {
		return nil, err
	}
	return p, WaitFor("prometheus is ready", StartLimit, func() string { return p.refusal("/-/ready") })
}

// ruleTimes are the `for` and the ranges in a file of alert rules.
var ruleTimes = regexp.MustCompile(`(?m)^\s+for: \w+$|\[\w+\]`)

// hurried is the rules with their times divided.
func hurried(rules []byte, by int) []byte {
	return ruleTimes.ReplaceAllFunc(rules, func(found []byte) []byte {
		old := strings.TrimPrefix(strings.Trim(string(found), "[ ]\n"), "for: ")
		d, err := time.ParseDuration(old)
		if err != nil {
			return found // a day or more, which no test waits for
		}
		return []byte(strings.Replace(string(found), old, fmt.Sprintf("%dms", (d/time.Duration(by)).Milliseconds()), 1))
	})
}

// prometheusClient keeps no connections, which would outlive a test.
var prometheusClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}

// refusal says why a path does not answer 200; nothing when it does.
func (p *Prometheus) refusal(path string) string {
	res, err := prometheusClient.Get(p.url + path)
	if err != nil {
		return err.Error()
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return res.Status
	}
	return ""
}

// Ask calls Prometheus' API and decodes what it answers into data.
func (p *Prometheus) Ask(path string, query url.Values, data any) error {
	res, err := prometheusClient.Get(p.url + "/api/v1/" + path + "?" + query.Encode())
	if err != nil {
		return fmt.Errorf("ask prometheus: %w", err)
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
