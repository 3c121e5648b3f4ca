package clients

import (
	"flag"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"sync"
	"testing"

	"github.com/codewar/socketbridge/e2e/compat"
	"github.com/codewar/socketbridge/internal/testutil/npm"
)

// client is a client on one of its transports.
type client struct {
	name       string
	transport  string   // websocket, polling, or upgrade: it begins by polling, as is the default
	transports []string // as its option says; nil for the default
	// start starts its driver, whose first tab will connect by way of the cutter.
	start   func(*cell, *cutter) (driver, error)
	proxied bool // it reaches the bridge through nginx
	asks    bool // it does not resume by itself: its first tab asks for cursors and presents them
	// unsteady: what it loses at the Node service differs from run to run, so it is not run there.
	unsteady bool
}

// uses is the transport that it ends up with.
func (c client) uses() string {
	if c.transport == "polling" {
		return "polling"
	}
	return "websocket"
}

// direct is where tabs connect that nothing happens to.
func (c *cell) direct() string { return "http://" + c.server.addr }

// on makes a client of each transport.
func on(name string, s start) []client {
	with := func(c *cell, _ *cutter) (driver, error) { return s(c.hear) }
	return []client{
		{name: name, transport: "websocket", transports: []string{"websocket"}, start: with},
		{name: name, transport: "polling", transports: []string{"polling"}, start: with},
		{name: name, transport: "upgrade", start: with},
	}
}

// asking marks clients that do not resume by themselves.
func asking(clients []client) []client {
	for i := range clients {
		clients[i].asks = true
	}
	return clients
}

// versions are those of socket.io-client, by the names of ../package.json.
var versions = []string{"sio-3.0", "sio-3.1", "sio-4.0", "sio-4.4", "sio-4.5", "sio-4.6", "sio-4.7", "socket.io-client"}

// allClients is the matrix.
func allClients(t *testing.T, page string) (all []client) {
	t.Helper()
	installed, err := npm.Versions("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range versions {
		clients := on("socket.io-client "+installed[v], program("node", "node.js", v))
		if v < "sio-4.6" {
			asking(clients)
		}
		all = append(all, clients...)
	}
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range on("Chromium, nginx", nil) {
		c.proxied = true
		c.start = func(c *cell, cut *cutter) (driver, error) {
			return program("node", "chromium.mjs", chromium, pageOf(page, cut.url))(c.hear)
		}
		all = append(all, c)
	}
	for _, flavour := range []string{"sync", "asyncio"} {
		clients := asking(on("python-socketio, "+flavour, program(python, "driver.py", flavour)))
		for i, c := range clients {
			// A poll's answer of more than 16 packets ends its connection.
			clients[i].unsteady = c.transport == "polling"
		}
		all = append(all, clients...)
	}
	// Its polling forgets packets that are written while a POST is under way, also at
	// Socket.IO's own server.
	all = append(all, on("Go, zishang520 3.0.6", program(binaries.goClient))[0])
	all = append(all, asking(on(swift.name, swift.start))...)
	all = append(all, asking(on(java.name, java.start))...)
	all = append(all, on(dart.name, dart.start)...)
	return all
}

// row is a client with what became of it at both servers.
type row struct {
	client       client
	bridge, node []result
}

// only runs a part of the matrix.
var only = flag.String("client", "", "expression for the names, client/transport, of cells to run")

// atOnce bounds how many cells run at the same time.
const atOnce = 4

// TestMatrix: each client on each of its transports gets everything once and in order, from
// the bridge. The same happens at the Node service, for comparison.
func TestMatrix(t *testing.T) {
	page := pages(t)
	bridge, proxied, node := startServers(t, page)
	var rows []*row
	wanted := regexp.MustCompile(*only)
	for _, c := range allClients(t, page) {
		if !wanted.MatchString(c.name + "/" + c.transport) {
			continue
		}
		rows = append(rows, &row{client: c})
	}
	var work sync.WaitGroup
	places := make(chan struct{}, atOnce)
	for i, r := range rows {
		for _, s := range []*server{bridge, node} {
			if s == bridge && r.client.proxied {
				s = proxied
			}
			if s == node && r.client.unsteady {
				continue
			}
			places <- struct{}{}
			work.Go(func() {
				defer func() { <-places }()
				c := &cell{server: s, client: r.client, user: fmt.Sprintf("user-%s-%d", s.name, i)}
				if s == node {
					r.node = c.run()
				} else {
					r.bridge = c.run()
				}
			})
		}
	}
	work.Wait()
	for _, r := range rows {
		t.Run(r.client.name+"/"+r.client.transport, func(t *testing.T) {
			for _, step := range r.bridge {
				if !step.ok() {
					t.Error(step)
				}
			}
			if missing := len(steps) - len(r.bridge); missing > 0 {
				t.Errorf("%d steps were not reached", missing)
			}
			t.Logf("at the Node service: %v", slices.DeleteFunc(slices.Clone(r.node), result.ok))
		})
	}
	if *only == "" && !t.Failed() {
		compat.Section(t, "clients", document(rows))
	}
}
