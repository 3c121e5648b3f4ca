package e2e

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// idleKinds are the ways in which a client can hold a connection and ask for nothing,
// by what it says on it.
var idleKinds = map[string]string{
	"silent":         "",
	"half a request": "POST /sendPayload HTTP/1.1\r\nHost: bridge\r\n",
	"keep-alive":     "GET /livez HTTP/1.1\r\nHost: bridge\r\n\r\n",
	"half a body":    "POST /sendPayload HTTP/1.1\r\nHost: bridge\r\nContent-Type: application/json\r\nContent-Length: 900000\r\n\r\n{",
	"half an early websocket": "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: bridge\r\n" +
		"Upgrade: websocket\r\nConnection: Upgrade\r\n",
}

// TestDescriptors: however many connections clients hold, on either port, the process
// keeps the descriptors that it needs. Callers are served during the flood and after it,
// sockets stay, and the embedded NATS server goes on storing.
func TestDescriptors(t *testing.T) {
	t.Parallel()
	natsAddr, opsAddr := "127.0.0.1:"+freePort(t), "127.0.0.1:"+freePort(t)
	n := runBridge(t, "few", []string{"NATS_EMBEDDED_ADDR=" + natsAddr, "OPS_ADDR=" + opsAddr},
		"/bin/sh", "-c", `ulimit -n 256 && exec "$0"`, binaries.bridge)
	n.ops = "http://" + opsAddr
	if log := n.log.String(); !strings.Contains(log, "connections are limited by file descriptors") {
		t.Errorf("the log does not say that the limit of connections is lower:\n%s", log)
	}
	addr := strings.TrimPrefix(n.url, "http://")
	p := open(t, n.url, transports["websocket"])
	p.setUser("u")
	serves := func(when string, times int) {
		t.Helper()
		for i := range times {
			// Large enough that the stream needs new files under the flood.
			body := fmt.Sprintf(`{"userId":"u","topic":"tick","n":%d,"fill":%q}`, i, strings.Repeat("x", 900_000))
			began := time.Now()
			if status, answer := n.send(t, body); status != http.StatusOK {
				t.Fatalf("%s: call %d: %d %v", when, i, status, answer)
			}
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("%s: call %d took %v", when, i, took)
			}
		}
	}
	serves("before", 1)

	var held []net.Conn
	defer func() {
		for _, nc := range held {
			_ = nc.Close()
		}
	}()
	hold := func(addr, say string) {
		nc, err := net.DialTimeout("tcp", addr, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, nc)
		if say != "" {
			_, _ = nc.Write([]byte(say)) // it may have been closed already
		}
	}
	for kind, say := range idleKinds {
		for range 300 {
			hold(addr, say)
		}
		serves("with many "+kind, 3)
	}
	for range 200 {
		hold(opsAddr, "")
	}
	serves("with all of them", 5)
	if out := n.log.String(); strings.Contains(out, "too many open files") {
		t.Error("the process ran out of descriptors")
	}
	for range 300 {
		hold(natsAddr, "")
	}
	serves("with connections to NATS", 5)
	if status, body := get("http://" + opsAddr + "/readyz"); status != http.StatusOK {
		t.Errorf("/readyz for operators: %d %s", status, body)
	}
	if got := n.metric(`bridge_gateway_refusals_total{limit="idle_connections"}`); got < 1000 {
		t.Errorf("%v idle connections were closed for others, want 1,000 or more", got)
	}
	for _, nc := range held {
		_ = nc.Close()
	}
	serves("after", 3)
	p.waitCount("tick", 1+3*len(idleKinds)+10+3)
}
