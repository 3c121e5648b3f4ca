package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/codewar/socketbridge/e2e/procs"
)

// bridge is one process under attack.
type bridge struct {
	name string
	addr string // of browsers and callers
	ops  string // of operators: the attacker is not told
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	log  string
}

// startBridge runs the binary as a node of the cluster, with its defaults but for what
// the test needs: clients' addresses from X-Forwarded-For, and a history that is soon full.
func (c *cluster) startBridge(ctx context.Context, dir, bin, name string, more ...string) (*bridge, error) {
	port, err := procs.FreePort()
	if err != nil {
		return nil, err
	}
	opsPort, err := procs.FreePort()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, name+".log")) //nolint:gosec // our own directory
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	defer func() { _ = log.Close() }()
	b := &bridge{
		name: name, addr: "127.0.0.1:" + port, ops: "127.0.0.1:" + opsPort,
		cmd: exec.Command(bin), done: make(chan struct{}), log: log.Name(), //nolint:gosec // just built
	}
	b.cmd.Dir, b.cmd.Stdout, b.cmd.Stderr = dir, log, log
	b.cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "LOG_LEVEL=warn", "PORT=" + port, "OPS_ADDR=" + b.ops, "NODE_ID=" + name,
		"NATS_URL=" + c.natsURL, "REDIS_ADDRS=" + c.redisAddr,
		"HTTP_TRUSTED_PROXIES=127.0.0.0/8", "HISTORY_TRACES=0", "HISTORY_MAX_PER_USER=10", "HISTORY_TTL=10s",
	}, append(c.accounts.environment(), more...)...)
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := b.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start bridge %s: %w", name, err)
	}
	go func() { // ends with the process
		defer close(b.done)
		_ = b.cmd.Wait()
	}()
	if err := waitFor(ctx, 20*time.Second, func() string { return notReady(b.addr) }); err != nil {
		b.kill()
		text, _ := os.ReadFile(b.log)
		return nil, fmt.Errorf("bridge %s is not ready: %w\n%s", name, err, text)
	}
	return b, nil
}

// notReady is why a bridge is not ready, "" when it is.
func notReady(addr string) string {
	res, err := http.Get("http://" + addr + "/readyz")
	if err != nil {
		return err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return res.Status
	}
	return ""
}

func (b *bridge) kill() {
	_ = b.cmd.Process.Kill()
	<-b.done
}

// peak is the most memory that the process has had resident so far, in bytes.
func (b *bridge) peak() (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("read memory of %s: %w", b.name, err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kB float64
	if _, err := fmt.Sscan(rest, &kB); err != nil {
		return 0, fmt.Errorf("read memory of %s: %w", b.name, err)
	}
	return kB * 1024, nil
}

// vitals is what must come back after an attack.
type vitals struct{ heap, rss, goroutines, descriptors float64 }

// beyond says what is more than 10 % above before.
func (v vitals) beyond(before vitals) (what []string) {
	for _, x := range []struct {
		name            string
		now, was, slack float64
	}{
		{"heap", v.heap, before.heap, 0},
		{"goroutines", v.goroutines, before.goroutines, 5},
		{"descriptors", v.descriptors, before.descriptors, 5},
	} {
		if x.now > x.was*1.1+x.slack {
			what = append(what, fmt.Sprintf("%s %.0f, was %.0f", x.name, x.now, x.was))
		}
	}
	return what
}

// vitals reads them until garbage was collected a few times, which the reading
// itself brings about, and takes the least of each.
func (b *bridge) vitals(ctx context.Context) (v vitals, err error) {
	collections := make(map[float64]bool)
	for n := 0; len(collections) < 4 && n < 1000; n++ {
		m, err := b.metrics(ctx)
		if err != nil {
			return v, err
		}
		collections[m["go_memstats_last_gc_time_seconds"]] = true
		now := vitals{m["go_memstats_heap_alloc_bytes"], m["process_resident_memory_bytes"], m["go_goroutines"], m["process_open_fds"]}
		if n == 0 {
			v = now
		}
		v = vitals{min(v.heap, now.heap), min(v.rss, now.rss), min(v.goroutines, now.goroutines), min(v.descriptors, now.descriptors)}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return v, context.Cause(ctx)
		}
	}
	return v, nil
}

// recovered waits for the vitals to come back. When they do not, it returns what there is.
func (b *bridge) recovered(ctx context.Context, before vitals) (v vitals, err error) {
	for began := time.Now(); time.Since(began) < 45*time.Second; {
		if v, err = b.vitals(ctx); err != nil || len(v.beyond(before)) == 0 {
			return v, err
		}
	}
	return v, nil
}

// refusals returns what was refused and dropped so far, and the panics.
func (b *bridge) refusals(ctx context.Context) (by map[string]float64, panics float64, err error) {
	m, err := b.metrics(ctx)
	if err != nil {
		return nil, 0, err
	}
	by = make(map[string]float64)
	for name, n := range m {
		if n > 0 && (strings.HasPrefix(name, "bridge_gateway_refusals_total") || strings.HasPrefix(name, "bridge_gateway_drops_total")) {
			by[name] = n
		}
	}
	return by, m["bridge_gateway_panics_total"], nil
}

// metrics reads counters and gauges, those with a label under name{value}.
func (b *bridge) metrics(ctx context.Context) (map[string]float64, error) {
	select {
	case <-b.done:
		log, _ := os.ReadFile(b.log)
		return nil, fmt.Errorf("bridge %s has died: %v\n%s", b.name, b.cmd.ProcessState, log)
	default:
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.ops+"/metrics", nil)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(res.Body)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	m := make(map[string]float64)
	for name, f := range families {
		for _, x := range f.GetMetric() {
			key := name
			if labels := x.GetLabel(); len(labels) > 0 {
				key = fmt.Sprintf("%s{%s}", name, labels[0].GetValue())
			}
			m[key] = x.GetCounter().GetValue() + x.GetGauge().GetValue() + x.GetUntyped().GetValue()
		}
	}
	return m, nil
}

// waitFor asks until state answers "".
func waitFor(ctx context.Context, limit time.Duration, state func() string) error {
	for began := time.Now(); ; {
		last := state()
		if last == "" {
			return nil
		}
		if time.Since(began) > limit {
			return errors.New(last)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
