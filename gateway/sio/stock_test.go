package sio

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/codewar/socketbridge/internal/metrics"
)

// The killers: what ends a process that serves the library as it is shipped, of
// any client. Each is shown both ways: it kills a stock server in a process of
// its own, and leaves ours alive. When one no longer kills the stock server, the
// library has been cured and our cure can be looked at again.

// stockEnv makes the test binary a stock server (see TestMain).
const stockEnv = "SIO_STOCK"

// serveStock serves the library until it is killed. It prints its address.
func serveStock() {
	opts := socket.DefaultServerOptions()
	opts.SetPingInterval(200 * time.Millisecond)
	opts.SetPingTimeout(200 * time.Millisecond)
	io := socket.NewServer(nil, opts)
	_ = io.On("connection", func(args ...any) {
		s := args[0].(*socket.Socket)
		_ = s.On("boom", func(...any) { panic("boom") })
		s.EmitWithAck("question")(func([]any, error) {})
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:revive // this is the child process's main
	}
	_, _ = fmt.Fprintf(os.Stdout, "http://%s\n", ln.Addr())
	_ = http.Serve(ln, io.ServeHandler(nil))
}

// startStock runs serveStock in a process. done yields what it wrote about its death.
func startStock(t *testing.T) (url string, done <-chan string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), stockEnv+"=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	died := make(chan string, 1)
	ended := make(chan struct{})
	lines := bufio.NewReader(stdout)
	url, err = lines.ReadString('\n')
	go func() {
		defer close(ended)
		if err := cmd.Wait(); err != nil && t.Context().Err() == nil {
			died <- stderr.String()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may be dead already
		<-ended
	})
	if err != nil {
		t.Fatalf("start stock server: %v", err)
	}
	return strings.TrimSpace(url), died
}

// killers are the attacks. Each goes on until stop reports true, or has done what it can.
var killers = []struct {
	name string
	// panics is what the stock server says when it dies.
	panics string
	attack func(t *testing.T, url string, stop func() bool)
}{
	{"K1 event without data", "interface conversion", func(t *testing.T, url string, _ func() bool) {
		tryJoined(t, url, "42")
		tryJoined(t, url, "421")
	}},
	{"K2 binary event without data", "interface conversion", func(t *testing.T, url string, _ func() bool) {
		tryJoined(t, url, "450-")
		tryJoined(t, url, "451-", "\x00binary")
	}},
	{"K3 acknowledgement without data", "interface conversion", func(t *testing.T, url string, _ func() bool) {
		ws, _, err := websocket.DefaultDialer.Dial(wsURL(url, ""), nil)
		if err != nil {
			return // dead
		}
		defer ws.Close()
		c := &wsClient{t, ws}
		c.try("40")
		for {
			_ = ws.SetReadDeadline(time.Now().Add(time.Second))
			_, data, err := ws.ReadMessage()
			if err != nil {
				return
			}
			if id, ok := strings.CutSuffix(string(data), `["question"]`); ok {
				c.try("43" + strings.TrimPrefix(id, "42"))
			}
		}
	}},
	{"K4 upgrade with protocol 3", "nil pointer", func(t *testing.T, url string, _ func() bool) {
		c := dialPolling(t, url)
		ws, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(url, "http")+"/socket.io/?EIO=3&transport=websocket&sid="+c.sid, nil)
		if err != nil {
			return // refused, as it should be
		}
		defer ws.Close()
		raw := &wsClient{t, ws}
		raw.try("2probe")
		_, _ = raw.read()
		raw.try("5")
		raw.try("2")
		raw.wantEnd()
	}},
	{"K5 pong before the session is ready", "nil pointer", func(t *testing.T, url string, stop func() bool) {
		for range 3000 {
			if stop() {
				return
			}
			earlyPongs(t, url)
		}
	}},
	{"K6 panic of a handler", "boom", func(t *testing.T, url string, _ func() bool) {
		tryJoined(t, url, `42["boom"]`)
	}},
}

// tryJoined joins and sends what it is told to; a name that begins with NUL is
// sent as a binary frame.
func tryJoined(t *testing.T, url string, messages ...string) {
	t.Helper()
	ws, _, err := websocket.DefaultDialer.Dial(wsURL(url, ""), nil)
	if err != nil {
		return // dead
	}
	defer ws.Close()
	c := &wsClient{t, ws}
	c.try("40")
	for range 3 { // OPEN, CONNECT, and a question if the server asks one
		_ = ws.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		if _, _, err := ws.ReadMessage(); err != nil {
			break
		}
	}
	for _, m := range messages {
		if binary, ok := strings.CutPrefix(m, "\x00"); ok {
			_ = ws.WriteMessage(websocket.BinaryMessage, []byte(binary))
			continue
		}
		c.try(m)
	}
	// A round trip, so that the server has seen them.
	_ = ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second))
	ws.SetPongHandler(func(string) error { return errors.New("seen") })
	_ = ws.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	_, _, _ = ws.ReadMessage()
}

// earlyPongs writes pongs right behind the websocket handshake, at a moment that
// differs from call to call.
func earlyPongs(t *testing.T, url string) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		return // dead
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintf(conn, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	for start, wait := time.Now(), time.Duration(rand.IntN(300))*time.Microsecond; time.Since(start) < wait; {
	}
	pong := []byte{0x81, 0x81, 0, 0, 0, 0, '3'}
	for range 20 {
		if _, err := conn.Write(pong); err != nil {
			return
		}
	}
}

func TestKillers(t *testing.T) {
	t.Parallel()
	for _, k := range killers {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			t.Run("stock", func(t *testing.T) {
				url, done := startStock(t)
				for range 10 { // the stock server may also miss a client's CONNECT
					k.attack(t, url, func() bool { return len(done) > 0 })
					select {
					case said := <-done:
						if !strings.Contains(said, k.panics) {
							t.Errorf("died of something else: %.2000s", said)
						}
						return
					case <-time.After(time.Second):
					}
				}
				t.Error("the stock server has survived")
			})
			t.Run("ours", func(t *testing.T) {
				r := &recorder{
					connect: func(s *Socket) {
						_ = s.EmitWithAck("question", time.Minute, nil, func([]json.RawMessage, error) {})
						s.conn.srv.Flush()
					},
					event: func(_ *Socket, name string, _ []json.RawMessage, _ func(...any)) {
						if name == "boom" {
							panic("boom")
						}
					},
				}
				s, url := newServer(t, Config{PingInterval: 200 * time.Millisecond, PingTimeout: 200 * time.Millisecond}, r)
				tries := 0
				k.attack(t, url, func() bool { tries++; return tries > 300 })
				joinWS(t, url, "") // alive
				want := uint64(0)
				if k.panics == "boom" {
					want = 1
				}
				waitFor(t, func() bool { return metrics.Value(s.metrics.panics) >= want })
				if got := metrics.Value(s.metrics.panics); got != want {
					t.Errorf("%d panics recovered, want %d", got, want)
				}
			})
		})
	}
}
