package main

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"text/template"
	"time"
)

// deployScale is many pages with stock clients as they are, each sent five messages a second.
var deployScale = scale{stock: 400, users: 100, rate: 500, unit: filmMargin, quiet: 12 * time.Second}

// deploys are the ways to restart bridges one after the other.
func deploys() []*row {
	return []*row{
		{name: "as it comes", on: plain, fault: rollingRestart},
		{name: "with a balancer that asks", on: plain, fault: rollingRestart, asked: time.Second, env: []string{"HTTP_SHUTDOWN_DELAY=3s", "DRAIN_DURATION=10s"}},
	}
}

// deployed is what the report says of one of them.
type deployed struct {
	Name, File, Settings string
	Published, Received  int
	Bad                  int // lost, twice, out of order, strays
	Reconnects           int
	Recovered            int
	Busiest              float64 // reconnects a second
	Fewest               int     // pages connected
	Late                 int
	Stops, Starts        string
	Absence, Silence     [3]string // p50, p99, longest
	Latency              [3]string
}

//go:embed deploy.md.tmpl
var deployReport string

// measureDeploys restarts bridges in each of the ways that are picked, and writes what
// pages saw to the file and its curves beside it.
func measureDeploys(ctx context.Context, bin binaries, dir, file string, pick *regexp.Regexp) (ok bool, err error) {
	ok = true
	bin.prometheus = "" // nobody else has the processors
	var all []deployed
	for i, row := range deploys() {
		if !pick.MatchString(row.name) {
			continue
		}
		res, err := perform(ctx, row, scales{plain: deployScale}, bin, filepath.Join(dir, fmt.Sprint("deploy", i)))
		if err != nil {
			return false, fmt.Errorf("%s: %w", row.name, err)
		}
		for _, b := range res.breaches {
			fmt.Fprintln(os.Stderr, row.name+":", b)
		}
		ok = ok && !res.failed()
		d := summary(row, res)
		d.File = fmt.Sprintf("%s-%d.svg", strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)), i+1)
		picture := draw(row.name, deployScale.stock, res.film.frames(), res.film.marks)
		if err := os.WriteFile(filepath.Join(filepath.Dir(file), d.File), picture, 0o644); err != nil {
			return false, fmt.Errorf("write curve: %w", err)
		}
		all = append(all, d)
	}
	var b bytes.Buffer
	err = template.Must(template.New("report").Parse(deployReport)).Execute(&b, map[string]any{
		"Date": time.Now().Format(time.DateOnly), "Cores": runtime.NumCPU(), "Go": runtime.Version(),
		"Pages": deployScale.stock, "Users": deployScale.users, "Rate": deployScale.rate, "LateAfter": lateAfter, "All": all,
	})
	if err != nil {
		return false, fmt.Errorf("write report: %w", err)
	}
	return ok, os.WriteFile(file, b.Bytes(), 0o644)
}

// summary puts a film in figures.
func summary(row *row, res *result) deployed {
	f, frames := res.film, res.film.frames()
	latencies := f.latenesses()
	on, _ := slices.BinarySearch(latencies, lateAfter+1)
	d := deployed{
		Name: row.name, Settings: strings.Join(row.env, " "), Published: res.published, Received: res.received,
		Bad: res.lost + res.duplicates + res.inversions + res.strays, Reconnects: res.reconnects, Recovered: res.recovered,
		Fewest: len(f.reports), Late: len(latencies) - on,
		Absence: spread(f.absences()), Silence: spread(f.silences()), Latency: spread(latencies),
	}
	for _, fr := range frames {
		d.Busiest, d.Fewest = max(d.Busiest, fr.reconnects), min(d.Fewest, fr.connected)
	}
	var stops, starts []string
	for i, m := range f.marks[1:] {
		took := m.at.Sub(f.marks[i].at).Round(frameEvery).String()
		switch m.name {
		case "ended":
			stops = append(stops, took)
		case "ready":
			starts = append(starts, took)
		}
	}
	d.Stops, d.Starts = strings.Join(stops, ", "), strings.Join(starts, ", ")
	return d
}

func spread(sorted []time.Duration) [3]string {
	text := func(p int) string {
		d := percentile(sorted, p)
		if d < 100*time.Millisecond {
			return d.Round(time.Millisecond).String()
		}
		return d.Round(10 * time.Millisecond).String()
	}
	return [3]string{text(50), text(99), text(100)}
}
