package clients

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/codewar/socketbridge/e2e/procs"
)

// pages serves a page that loads the client from the address in its query, and the driver.
func pages(t *testing.T) (address string) {
	script, err := os.ReadFile("driver.js")
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprintf(w, "<!doctype html><link rel=icon href=data:,><script src=%q></script><script>%s</script>", r.URL.Query().Get("client"), script)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// running starts a process for the time of the test.
func running(t *testing.T, p *procs.Process) {
	t.Helper()
	if p.Dir == "" {
		p.Dir = t.TempDir()
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		log, err := os.ReadFile(p.LogFile())
		if strings.Contains(string(log), "DATA RACE") {
			t.Errorf("%s has a data race", p.Name)
		}
		if t.Failed() {
			t.Logf("---- %s ---- %v\n%s", p.Name, err, log[max(0, len(log)-10_000):])
		}
	})
}

func ready(t *testing.T, p *procs.Process, api string) {
	t.Helper()
	err := procs.WaitFor(p.Name+" is ready", procs.StartLimit, func() string {
		if !p.Alive() {
			return "it has ended"
		}
		res, err := http.Get(api + "/readyz")
		if err != nil {
			return err.Error()
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return res.Status
		}
		return ""
	})
	if err != nil {
		log, _ := os.ReadFile(p.LogFile())
		t.Fatalf("%v\n%s", err, log)
	}
}

func port(t *testing.T) string {
	t.Helper()
	p, err := procs.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// startServers runs the bridge, nginx in front of it, and the Node service, on one NATS server.
func startServers(t *testing.T, page string) (bridge, proxied, node *server) {
	t.Helper()
	dir := t.TempDir()
	natsServer, natsURL, err := procs.StartNATS(dir, binaries.nats)
	if natsServer != nil {
		t.Cleanup(natsServer.Kill)
	}
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(natsURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)

	bridgePort, nodePort := port(t), port(t)
	bridge = &server{name: "bridge", addr: "127.0.0.1:" + bridgePort, api: "http://127.0.0.1:" + bridgePort, nats: nc}
	// An origin is named, so that those of clients which are no pages are judged as well.
	b := &procs.Process{Name: "bridge", Path: binaries.bridge, Env: procs.Environment(
		"PORT="+bridgePort, "NATS_URL="+natsURL, "ORIGIN="+page, "LOG_LEVEL=debug",
		"SOCKET_PING_INTERVAL=2000", "SOCKET_PING_TIMEOUT=5000", // a poll that was cut off between two requests is missed only then
	)}
	running(t, b)
	ready(t, b, bridge.api)

	service, err := filepath.Abs("../node_service/server.js")
	if err != nil {
		t.Fatal(err)
	}
	node = &server{name: "node", addr: "127.0.0.1:" + nodePort, api: "http://127.0.0.1:" + nodePort, newest: true, nats: nc}
	n := &procs.Process{Name: "node", Path: "node", Args: []string{service}, Env: procs.Environment("PORT="+nodePort, "NATS_URL="+natsURL, "ORIGIN="+page)}
	running(t, n)
	if err := n.Listens(node.addr); err != nil {
		t.Fatal(err)
	}

	proxied = &server{name: "nginx", addr: startNginx(t, bridgePort), api: bridge.api, nats: nc}
	return bridge, proxied, node
}

// startNginx runs the nginx that is installed with deploy/nginx.conf and one bridge.
func startNginx(t *testing.T, bridgePort string) (addr string) {
	t.Helper()
	conf, err := os.ReadFile("../../deploy/nginx.conf")
	if err != nil {
		t.Fatal(err)
	}
	dir, listen := t.TempDir(), port(t)
	text := string(conf)
	replace := func(old, new string) {
		if !strings.Contains(text, old) {
			t.Fatalf("deploy/nginx.conf has no %q", old)
		}
		text = strings.ReplaceAll(text, old, new)
	}
	replace("listen 3004;", "listen 127.0.0.1:"+listen+";")
	replace("/etc/nginx/bridges.conf", filepath.Join(dir, "bridges.conf"))
	// Where Debian's keeps request bodies only root may write.
	temporary := "http {\n"
	for _, of := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temporary += of + "_temp_path " + dir + "/" + of + ";\n"
	}
	replace("http {\n", temporary)
	for name, text := range map[string]string{"nginx.conf": text, "bridges.conf": "server 127.0.0.1:" + bridgePort + ";\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	user := ""
	if os.Getuid() == 0 {
		user = "user root;" // whose directory this is
	}
	p := &procs.Process{
		Name: "nginx", Path: "nginx", Dir: dir, Env: procs.Environment(),
		Args: []string{"-p", dir, "-c", "nginx.conf", "-e", "stderr", "-g", "daemon off; master_process off; pid nginx.pid; " + user},
	}
	running(t, p)
	addr = "127.0.0.1:" + listen
	ready(t, p, "http://"+addr)
	return addr
}

func pageOf(page, server string) string {
	return page + "/?client=" + url.QueryEscape(server+"/socket.io/socket.io.min.js")
}
