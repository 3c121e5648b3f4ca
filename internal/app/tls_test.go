package app_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/codewar/socketbridge/bridge/certtest"
	"github.com/codewar/socketbridge/internal/cli"
	"github.com/codewar/socketbridge/internal/testutil/capture"
	"github.com/codewar/socketbridge/internal/testutil/launch"
	"github.com/codewar/socketbridge/internal/testutil/wait"
)

// TestServeTLS: both listeners encrypt with the one certificate, answer nothing
// else, and show when it expires.
func TestServeTLS(t *testing.T) {
	ca := certtest.New(t)
	pair := ca.Issue("bridge")
	t.Chdir(t.TempDir())
	public, operators := launch.FreeAddr(t), launch.FreeAddr(t)
	ctx, cancel := context.WithCancel(t.Context())
	var log capture.Text
	status := make(chan int, 1)
	go func() {
		status <- cli.Run(ctx, []string{
			"--set", "http.addr=" + public, "--set", "ops.addr=" + operators, "--set", "nats.embedded.addr=" + launch.FreeAddr(t),
			"--set", "http.tls.cert=" + pair.Cert, "--set", "http.tls.key=" + pair.Key, "--set", "ops.tls=true",
		}, io.Discard, &log)
	}()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: ca.Client(), DisableKeepAlives: true}, Timeout: 5 * time.Second}
	get := func(url string) (int, string) {
		res, err := client.Get(url)
		if err != nil {
			return 0, err.Error()
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(body)
	}
	wait.For(t, "readiness", func() bool { code, _ := get("https://" + operators + "/readyz"); return code == http.StatusOK })
	if code, body := get("https://" + public + "/socket.io/?EIO=4&transport=polling"); code != http.StatusOK {
		t.Errorf("handshake: %d %s", code, body)
	}
	for _, addr := range []string{public, operators} {
		if code, body := get("http://" + addr + "/livez"); code != http.StatusBadRequest {
			t.Errorf("without TLS: %d %s", code, body)
		}
	}
	const metric = "\nbridge_http_certificate_expiry_timestamp_seconds "
	if _, body := get("https://" + operators + "/metrics"); !strings.Contains(body, metric) {
		t.Errorf("/metrics lacks%s", metric)
	}
	cancel()
	if code := <-status; code != exitStopped {
		t.Errorf("exit status %d:\n%s", code, &log)
	}
}
