package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/codewar/socketbridge/bridge/certtest"
	"github.com/codewar/socketbridge/gateway/hub"
	"github.com/codewar/socketbridge/gateway/publish"
	"github.com/codewar/socketbridge/gateway/sio"
	"github.com/codewar/socketbridge/gateway/siotest"
	"github.com/codewar/socketbridge/store"
)

// serveTLS is a whole server behind a certificate.
func serveTLS(t *testing.T, cert *Certificate) (addr string) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	s := store.NewMemory(store.Limits{}).Node("n")
	if _, err := s.Beat(t.Context()); err != nil {
		t.Fatal(err)
	}
	sockets := sio.Config{
		Transports: []string{"websocket", "polling"}, PingInterval: time.Minute, PingTimeout: time.Minute, UpgradeTimeout: 10 * time.Second,
		ConnectTimeout: time.Minute, MaxInbound: 1 << 20, MaxPending: 1 << 20, WriteTimeout: 10 * time.Second,
	}
	srv := NewServer(Config{Sockets: sockets, Publish: publish.Config{MaxBody: 4096, ReplyTimeout: time.Second}, ReadHeaderTimeout: time.Minute},
		hub.New(s, newHistory(), hub.Config{MaxPending: 1 << 20, SessionTTL: time.Hour}, log), s, pushed, nil, prometheus.NewRegistry(), log)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l, cert) }()
	t.Cleanup(func() {
		if err := errors.Join(srv.Shutdown(context.Background(), 0), <-done); err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// TestTLSClients: the stock client on both transports, and an HTTP client that
// would rather have HTTP/2.
func TestTLSClients(t *testing.T) {
	t.Parallel()
	ca := certtest.New(t)
	cert := openCertificate(t, ca.Issue("bridge"))
	addr := serveTLS(t, cert)
	authority, err := os.ReadFile(ca.File)
	if err != nil {
		t.Fatal(err)
	}
	node := siotest.Start(t)
	for _, transports := range [][]string{{"websocket"}, {"polling"}, nil} {
		c := node.Dial("https://"+addr, siotest.Options{Transports: transports, CA: string(authority)})
		c.Connected()
		if transports == nil {
			c.Upgraded()
		}
		answer := c.EmitWithAck("setUserId", "u"+fmt.Sprint(transports))
		if len(answer) != 1 || !strings.Contains(string(answer[0]), `"ok":true`) {
			t.Errorf("%v: setUserId answers %s", transports, answer)
		}
		c.Disconnect()
	}

	transport := &http.Transport{TLSClientConfig: ca.Client(), ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport}).Post("https://"+addr+"/sendPayload", "application/json", strings.NewReader(`{"userId":"u","topic":"t"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.Proto != "HTTP/1.1" || res.TLS.Version < tls.VersionTLS12 {
		t.Errorf("%s over TLS version %#x", res.Proto, res.TLS.Version)
	}

	old := ca.Client()
	old.MaxVersion, old.MinVersion = tls.VersionTLS11, tls.VersionTLS10
	if c, err := tls.Dial("tcp", addr, old); err == nil {
		c.Close()
		t.Error("TLS 1.1 is spoken")
	}
}

// TestCertificateRenewed: connections that are there stay, new ones see the new
// certificate, and files that are no better change nothing.
func TestCertificateRenewed(t *testing.T) {
	t.Parallel()
	ca := certtest.New(t)
	pair := ca.Issue("bridge")
	cert := openCertificate(t, pair)
	addr := serveTLS(t, cert)
	dial := func() *tls.Conn {
		t.Helper()
		c, err := tls.Dial("tcp", addr, ca.Client())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	serial := func(c *tls.Conn) string { return c.ConnectionState().PeerCertificates[0].SerialNumber.String() }
	before := dial()
	answers(t, before)

	ca.Issue("bridge") // the same files
	cert.renew()
	answers(t, before)
	renewed := dial()
	if serial(renewed) == serial(before) {
		t.Error("the renewed certificate is not used")
	}

	good := serial(renewed)
	for name, spoil := range map[string]func(){
		"expired":     func() { ca.IssueFor("bridge", -time.Minute) },
		"cut off":     func() { overwrite(t, pair.Cert, "-----BEGIN CERTIFICATE-----\n") },
		"another key": func() { overwriteWith(t, pair.Key, ca.Issue("other").Key) },
		"gone":        func() { must(t, os.Remove(pair.Key)) },
	} {
		spoil()
		cert.renew()
		if c := dial(); serial(c) != good {
			t.Errorf("%s: the old pair does not stay", name)
		}
	}
	ca.Issue("bridge")
	cert.renew()
	if c := dial(); serial(c) == good {
		t.Error("after bad files a good pair is not taken")
	}
	answers(t, before)
}

// TestCertificateWatch: within one round of looking, and each bad state is said once.
func TestCertificateWatch(t *testing.T) {
	ca := certtest.New(t)
	pair := ca.Issue("bridge")
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		cert, err := OpenCertificate(pair.Cert, pair.Key, slog.New(slog.NewTextHandler(&log, nil)))
		must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); cert.Watch(ctx) }()
		overwrite(t, pair.Cert, "nothing")
		time.Sleep(5 * certificateCheck)
		synctest.Wait()
		cancel()
		<-done
		if n := strings.Count(log.String(), "the old pair stays"); n != 1 {
			t.Errorf("said %d times that the old pair stays, want once:\n%s", n, &log)
		}
	})
}

func TestCertificateThatCannotBeRead(t *testing.T) {
	t.Parallel()
	pair := certtest.New(t).Issue("bridge")
	for want, files := range map[string][2]string{
		"http.tls.cert: ":                  {"nope.pem", pair.Key},
		"http.tls.key: ":                   {pair.Cert, "nope.key"},
		"http.tls.cert and http.tls.key: ": {pair.Key, pair.Cert},
	} {
		if _, err := OpenCertificate(files[0], files[1], slog.New(slog.DiscardHandler)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func openCertificate(t *testing.T, pair certtest.Pair) *Certificate {
	t.Helper()
	cert, err := OpenCertificate(pair.Cert, pair.Key, slog.New(slog.NewTextHandler(t.Output(), nil)))
	must(t, err)
	return cert
}

// answers sends a request over a connection that stays open.
func answers(t *testing.T, c *tls.Conn) {
	t.Helper()
	_, err := io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
	must(t, err)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(t, err)
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("/livez: %d, %v", res.StatusCode, err)
	}
	res.Body.Close()
}

func overwrite(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

func overwriteWith(t *testing.T, path, from string) {
	t.Helper()
	text, err := os.ReadFile(from)
	must(t, err)
	overwrite(t, path, string(text))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
