package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/codewar/socketbridge/internal/testutil/capture"
	"github.com/codewar/socketbridge/internal/testutil/wait"
)

// binaries are built once for the whole package: the bridge with the race
// detector, which ends the process at the first race, and a nats-server of the
// version in go.mod.
var binaries struct{ bridge, nats string }

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "bridge-e2e-")
	if err != nil {
		panic(err)
	}
	binaries.bridge, binaries.nats = filepath.Join(dir, "socketbridge"), filepath.Join(dir, "nats-server")
	build("-race", "-o", binaries.bridge, "github.com/codewar/socketbridge")
	build("-o", binaries.nats, "github.com/nats-io/nats-server/v2")
	code := m.Run()
	_ = os.RemoveAll(dir)
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func build(args ...string) {
	if out, err := exec.Command("go", append([]string{"build"}, args...)...).CombinedOutput(); err != nil {
		panic(fmt.Sprintf("go build %v: %v\n%s", args, err, out))
	}
}

// process is a program under test.
type process struct {
	t    testing.TB
	cmd  *exec.Cmd
	name string
	done chan struct{} // closed when it has ended
	log  capture.Text
}

// start runs a program until the test ends. Its output is shown when the test fails.
func start(t testing.TB, name string, env []string, path string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: name, cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.Dir = t.TempDir() // no config.yaml and no .env of the repository
	p.cmd.Env = append(clean(os.Environ()), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		<-p.done
		if out := p.log.String(); strings.Contains(out, "DATA RACE") {
			t.Errorf("%s has a data race", name)
		}
		if t.Failed() {
			out := p.log.String()
			t.Logf("---- %s ----\n%s", name, out[max(0, len(out)-20_000):])
		}
	})
	return p
}

// clean takes out of the environment what would configure the bridge.
func clean(env []string) []string {
	var out []string
	for _, e := range env {
		switch name, _, _ := strings.Cut(e, "="); name {
		case "PATH", "HOME", "TMPDIR":
			out = append(out, e)
		}
	}
	return append(out, "GORACE=halt_on_error=1")
}

func (p *process) signal(s os.Signal) { _ = p.cmd.Process.Signal(s) }

// kill ends the process as a crash would.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

// stop asks the process to end and returns its exit status.
func (p *process) stop() int {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		p.t.Errorf("%s did not stop", p.name)
		p.kill()
	}
	return p.cmd.ProcessState.ExitCode()
}

// node is a running bridge.
type node struct {
	*process
	url string
	ops string // where the operators' routes are
	id  string
}

// startBridge runs a bridge and waits until it is ready.
func startBridge(t testing.TB, id string, env ...string) *node {
	t.Helper()
	return runBridge(t, id, env, binaries.bridge)
}

// runBridge does the same with a command that becomes the bridge.
func runBridge(t testing.TB, id string, env []string, path string, args ...string) *node {
	t.Helper()
	n := launchBridge(t, id, env, path, args...)
	n.ready(t)
	return n
}

// launchBridge runs a bridge and does not wait.
func launchBridge(t testing.TB, id string, env []string, path string, args ...string) *node {
	t.Helper()
	port := freePort(t)
	n := &node{url: "http://127.0.0.1:" + port, id: id}
	n.ops = n.url
	if !slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, "NATS_EMBEDDED_ADDR=") }) {
		ops := "127.0.0.1:" + freePort(t) // no plain development start
		env = append(env, "OPS_ADDR="+ops)
		n.ops = "http://" + ops
	}
	env = append([]string{"PORT=" + port, "NODE_ID=" + id, "LOG_LEVEL=debug"}, env...)
	n.process = start(t, "bridge "+id, env, path, args...)
	return n
}

// ready waits until the bridge is, and returns when.
func (n *node) ready(t testing.TB) time.Time {
	t.Helper()
	waitFor(t, "bridge "+n.id+" is ready", func() string {
		select {
		case <-n.done:
			t.Fatalf("bridge %s ended:\n%s", n.id, n.log.String())
		default:
		}
		status, body := get(n.url + "/readyz")
		if status == http.StatusOK {
			return ""
		}
		return body
	})
	return time.Now()
}

// embedded runs a bridge with everything inside; nats is where publishers reach it.
func embedded(t testing.TB) (n *node, natsURL string) {
	t.Helper()
	addr := "127.0.0.1:" + freePort(t)
	return startBridge(t, "solo", "NATS_EMBEDDED_ADDR="+addr), "nats://" + addr
}

// startNATS runs a nats-server with JetStream in a process of its own.
func startNATS(t testing.TB) (p *process, url string) {
	t.Helper()
	port := freePort(t)
	p = start(t, "nats", nil, binaries.nats, "-js", "-a", "127.0.0.1", "-p", port, "-sd", t.TempDir())
	p.listens("127.0.0.1:" + port)
	return p, "nats://127.0.0.1:" + port
}

// listens waits until the process takes connections.
func (p *process) listens(addr string) {
	p.t.Helper()
	waitFor(p.t, p.name+" listens", func() string {
		select {
		case <-p.done:
			p.t.Fatalf("%s ended:\n%s", p.name, p.log.String())
		default:
		}
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return err.Error()
		}
		return errText(c.Close())
	})
}

// ports are taken below those that the system gives to outgoing connections, so
// that nobody else gets one between here and the process that is to have it.
var ports atomic.Int32

func init() { ports.Store(15_000 + rand.Int32N(10_000)) }

func freePort(t testing.TB) string {
	t.Helper()
	for range 1000 {
		port := strconv.Itoa(int(ports.Add(1)))
		if l, err := net.Listen("tcp", ":"+port); err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return ""
}

func errText(err error) string {
	if err != nil {
		return err.Error()
	}
	return ""
}

var waitFor = wait.Until

// client talks HTTP without keeping connections, which would outlive a node.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}

func get(url string) (status int, body string) {
	res, err := client.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b)
}

// send posts to /sendPayload.
func (n *node) send(t testing.TB, body string) (status int, answer map[string]any) {
	t.Helper()
	return n.sendTo(t, "/sendPayload", body)
}

func (n *node) sendTo(t testing.TB, route, body string) (status int, answer map[string]any) {
	t.Helper()
	res, err := client.Post(n.url+route, "application/json", strings.NewReader(body))
	return decode(t, res, err)
}

func getJSON(t testing.TB, url string) (status int, answer map[string]any) {
	t.Helper()
	res, err := client.Get(url)
	return decode(t, res, err)
}

func decode(t testing.TB, res *http.Response, err error) (status int, answer map[string]any) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, answer
}

// publisher is a NATS client of a test.
type publisher struct {
	t  testing.TB
	nc *nats.Conn
	js jetstream.JetStream
}

func connect(t testing.TB, url string) *publisher {
	t.Helper()
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return &publisher{t, nc, js}
}

// core publishes as any NATS client does.
func (p *publisher) core(topic, body string) {
	p.t.Helper()
	if err := p.nc.Publish("codewar."+topic, []byte(body)); err != nil {
		p.t.Fatal(err)
	}
}

// stored publishes and waits until the stream has it.
func (p *publisher) stored(topic, body string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, err := p.js.Publish(ctx, "codewar."+topic, []byte(body)); err != nil {
		p.t.Fatal(err)
	}
}
