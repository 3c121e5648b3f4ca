package sio

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

const (
	askWebsocket = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	askPolling = "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n"
)

// connectTCP connects to the server at that address.
func connectTCP(t *testing.T, url string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	return conn
}

func tell(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

// response reads one response.
func response(t *testing.T, in *bufio.Reader) (*http.Response, string) {
	t.Helper()
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		return res, ""
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

// TestWebsocketListener: a connection gets the same answer from the listener and the HTTP server.
func TestWebsocketListener(t *testing.T) {
	t.Parallel()
	_, url := newServer(t, Config{AllowRequest: func(r *http.Request) error {
		if r.Header.Get("X-Bad") != "" {
			return fmt.Errorf("not %s", r.Header.Get("X-Bad"))
		}
		return nil
	}}, &recorder{})
	for name, ask := range map[string]struct {
		parts  []string
		status int
	}{
		"websocket":                 {[]string{askWebsocket + "\r\n"}, 101},
		"websocket, in two parts":   {[]string{askWebsocket, "\r\n"}, 101},
		"websocket, byte for byte":  {strings.Split(askWebsocket+"\r\n", ""), 101},
		"websocket, long":           {[]string{askWebsocket + "Cookie: " + strings.Repeat("x", 6000) + "\r\n\r\n"}, 101},
		"polling":                   {[]string{askPolling}, 200},
		"polling, long":             {[]string{strings.Replace(askPolling, "\r\n\r\n", "\r\nCookie: "+strings.Repeat("x", 6000)+"\r\n\r\n", 1)}, 200},
		"refused":                   {[]string{askWebsocket + "X-Bad: hat\r\n\r\n"}, 403},
		"refused, in two parts":     {[]string{askWebsocket + "X-Bad: hat\r\n", "\r\n"}, 403},
		"unknown session":           {[]string{strings.Replace(askWebsocket, "EIO=4", "EIO=4&sid=x", 1) + "\r\n"}, 400},
		"no key":                    {[]string{strings.Replace(askWebsocket, "Sec-WebSocket-Key", "X-Key", 1) + "\r\n"}, 400},
		"no host":                   {[]string{strings.Replace(askWebsocket, "Host: x\r\n", "", 1) + "\r\n"}, 400},
		"wrong version of protocol": {[]string{strings.Replace(askWebsocket, "EIO=4", "EIO=3", 1) + "\r\n"}, 400},
		"not HTTP":                  {[]string{"GET /socket.io/?\r\n\r\n"}, 400},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := connectTCP(t, url)
			for _, part := range ask.parts {
				tell(t, conn, part)
			}
			if res, body := response(t, bufio.NewReader(conn)); res.StatusCode != ask.status {
				t.Errorf("got %s %s, want %d", res.Status, body, ask.status)
			} else if ask.status == http.StatusForbidden && !strings.Contains(body, `"not hat"`) {
				t.Errorf("got body %s", body)
			}
		})
	}
}

// TestWebsocketListenerKeepsConnections: a connection that is not for a websocket serves one
// request after the other, also a websocket in the end.
func TestWebsocketListenerKeepsConnections(t *testing.T) {
	t.Parallel()
	_, url := newServer(t, Config{}, &recorder{})
	conn := connectTCP(t, url)
	in := bufio.NewReader(conn)
	for _, ask := range []string{askPolling, askPolling, askWebsocket + "\r\n"} {
		tell(t, conn, ask)
		res, body := response(t, in)
		if want := map[bool]int{true: 101, false: 200}[strings.HasPrefix(ask, askWebsocket)]; res.StatusCode != want {
			t.Errorf("got %s %s, want %d", res.Status, body, want)
		}
	}
}

// TestWebsocketListenerEarlyFrames: a client that sends frames before the answer is not served.
func TestWebsocketListenerEarlyFrames(t *testing.T) {
	t.Parallel()
	_, url := newServer(t, Config{}, &recorder{})
	conn := connectTCP(t, url)
	tell(t, conn, askWebsocket+"\r\n\x81\x82\x00\x00\x00\x0040")
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("got %d bytes, want the end", n)
	}
}

// TestPendingConnections: connections that send nothing, or only a part of a request, do not delay
// others. The time-out closes them, and so does Close.
func TestPendingConnections(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{}, &recorder{}, slog.New(slog.DiscardHandler))
	web := &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	serve := func(l net.Listener, patience time.Duration) (url string, done chan error) {
		done = make(chan error, 1)
		early := s.WebsocketListener(l, "/socket.io/", patience)
		go func() { done <- web.Serve(early) }()
		return "http://" + l.Addr().String(), done
	}
	url, done := serve(l, time.Minute)
	var silent []net.Conn
	for i := range 300 {
		conn := connectTCP(t, url)
		if i%2 == 0 {
			tell(t, conn, askWebsocket) // and no more
		}
		silent = append(silent, conn)
	}
	joinWS(t, url, "").ws.Close()

	hasty, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hastyURL, hastyDone := serve(hasty, 50*time.Millisecond)
	if _, err := connectTCP(t, hastyURL).Read(make([]byte, 1)); err == nil {
		t.Error("a silent connection got something")
	}

	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := silent[1].Read(make([]byte, 1)); err == nil {
		t.Error("a silent connection got something from Close")
	}
	web.Close()
	for _, done := range []chan error{done, hastyDone} {
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	}
	s.check(t)
}
