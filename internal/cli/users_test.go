package cli

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/codewar/socketbridge/bridge/certtest"
	"github.com/codewar/socketbridge/gateway/admin"
	"github.com/codewar/socketbridge/gateway/auth"
	"github.com/codewar/socketbridge/internal/config"
	"github.com/codewar/socketbridge/internal/testutil/launch"
	"github.com/codewar/socketbridge/internal/testutil/wait"
)

// operators is a stand-in for the operators' API: it answers one request, and
// wants the key.
func operators(t *testing.T, uri, answer string) (url string) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error":"An operators' key is required","code":"UNAUTHORIZED"}`))
			return
		}
		if r.Method != http.MethodGet || r.URL.RequestURI() != uri {
			t.Errorf("asked %s %s, want %s", r.Method, r.URL.RequestURI(), uri)
		}
		_, _ = w.Write([]byte(answer))
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func ago(d time.Duration) string { return time.Now().Add(-d).UTC().Format(time.RFC3339Nano) }

func TestUsers(t *testing.T) {
	launch.Clean(t)
	t.Setenv(envOpsKey, "secret")
	url := operators(t, "/api/v1/users?limit=2&prefix=u%2F", `{"users":[{"userId":"u/1","sockets":3,"nodes":["a","b"],"since":"`+ago(90*time.Second)+
		`"},{"userId":"u/long name","sockets":1,"nodes":["a"],"since":"`+ago(49*time.Hour)+`"}],"total":7,"truncated":true,"missing":["c"],"later":1}`)
	out, _ := launch.Command(t, Run, exitStopped, "users", "--ops-url", url, "--prefix", "u/", "--limit", "2")
	want := `USER         SOCKETS  SINCE  NODES
u/1          3        1m     a b
u/long name  1        2d     a

7 users connected, 2 listed (--limit, --prefix)
not asked, because they did not answer: c
`
	if out != want {
		t.Errorf("printed\n%s\nwant\n%s", out, want)
	}
	if out, _ := launch.Command(t, Run, exitStopped, "users", "--ops-url", url, "--prefix", "u/", "--limit", "2", "--json"); !strings.HasPrefix(out, `{"users":[{"userId":"u/1",`) || !strings.HasSuffix(out, `"later":1}`+"\n") {
		t.Errorf("as JSON: %s", out)
	}
	if _, errs := launch.Command(t, Run, exitFailed, "users", "--ops-url", url, "--key", "wrong"); !strings.Contains(errs, "UNAUTHORIZED") || !strings.Contains(errs, envOpsKey) {
		t.Errorf("with a wrong key: %s", errs)
	}
}

func TestUser(t *testing.T) {
	launch.Clean(t)
	t.Setenv(envOpsKey, "secret")
	url := operators(t, "/api/v1/users/u%201?limit=20&topic=verdict", `{"userId":"u 1","verdict":{"code":"pushed_dead_tab","text":"given to a page that had gone."},
"sockets":[{"socketId":"s1","node":"a","since":"`+ago(5*time.Second)+`","transport":"websocket","lastOffset":"17-2","queuedBytes":12}],
"events":[{"at":"`+ago(time.Minute)+`","event":"disconnected","socketId":"s0","node":"b","reason":"ping timeout","durationMs":65000}],
"taken":"17-2","last":"17-3","messages":[{"offset":"17-3","topic":"verdict","at":"`+ago(2*time.Hour)+`","outcome":"pushed","verdict":{"code":"pushed","text":"taken by 1 socket"},"sockets":1,"tries":[]},
{"offset":"17-2","topic":"x\u001b","at":null,"outcome":"","verdict":{"code":"queued","text":"waits"},"sockets":0}],
"dead":[{"seq":4,"at":"`+ago(3*time.Minute)+`","code":"INVALID_TOPIC","reason":"bad","subject":"codewar.a b"}],"missed":[{"at":"`+ago(9*time.Second)+`","topic":"verdict","node":"a"}],"missing":[],"partial":["letters: not available"]}`)
	out, _ := launch.Command(t, Run, exitStopped, "user", "u 1", "--ops-url", url, "--topic", "verdict")
	want := `u 1: given to a page that had gone (pushed_dead_tab)
incomplete: letters: not available

SOCKET  NODE  SINCE  TRANSPORT  LAST OFFSET  QUEUED
s1      a     5s     websocket  17-2         12 B

AGO  EVENT         SOCKET  NODE  AFTER  REASON
1m   disconnected  s0      b     1m     ping timeout

AGO  OFFSET  TOPIC    OUTCOME  SOCKETS  VERDICT
2h   17-3    verdict  pushed   1        pushed
-    17-2    "x\x1b"  -        0        queued

AGO  ANSWERED 404, TOPIC  NODE
9s   verdict              a

AGO  DEAD LETTER  CODE           SUBJECT      REASON
3m   4            INVALID_TOPIC  codewar.a b  bad
`
	if out != want {
		t.Errorf("printed\n%s\nwant\n%s", out, want)
	}
}

func TestOperateUsage(t *testing.T) {
	launch.Clean(t)
	for _, args := range [][]string{
		{"users", "x"},
		{"users", "--limit", "0"},
		{"users", "--ops-url", "here"},
		{"user"},
		{"user", ""},
		{"user", "a", "b"},
		{"user", "a", "--limit", "-1"},
		{"users", "--set", "ops.addr=127.0.0.1:0"},
		{"bench", "x"},
		{"bench", "--users", "0"},
		{"bench", "--users", "5001"},
		{"bench", "--rate", "20001"},
		{"bench", "--for", "11m"},
		{"bench", "--key", "k"},
		{"bench", "--url", "http://192.0.2.1:3004"},
		{"bench", "--url", "https://bridge.example", "--http"},
	} {
		if out, errs := launch.Command(t, Run, exitUsage, args...); out != "" || strings.Count(errs, "\n") != 1 {
			t.Errorf("%q: printed %q and %q, want one line of error", args, out, errs)
		}
	}
}

// TestOpsTarget: the operators' routes are found by the configuration alone, also
// where the certificate is for another name.
func TestOpsTarget(t *testing.T) {
	pair := certtest.New(t).Issue("bridge.example")
	encrypted := []string{"--set", "http.tls.cert=" + pair.Cert, "--set", "http.tls.key=" + pair.Key}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "http://127.0.0.1:3004"},
		{[]string{"--set", "http.addr=[::]:1"}, "http://127.0.0.1:1"},
		{[]string{"--set", "http.addr=10.0.0.1:1"}, "http://10.0.0.1:1"},
		{[]string{"--set", "ops.addr=127.0.0.1:5"}, "http://127.0.0.1:5"},
		{append([]string{"--set", "ops.keys=me:" + strings.Repeat("0", 64)}, encrypted...), "https://127.0.0.1:3004"},
		{append([]string{"--set", "ops.addr=:5"}, encrypted...), "http://127.0.0.1:5"},
		{append([]string{"--set", "ops.addr=:5", "--set", "ops.tls=true"}, encrypted...), "https://127.0.0.1:5"},
	} {
		launch.Clean(t)
		cmd := newUsersCommand()
		config.AddFlags(cmd.Flags())
		if err := cmd.ParseFlags(tt.args); err != nil {
			t.Fatal(err)
		}
		got, err := opsTarget(cmd, "")
		if err != nil || got.url != tt.want || (got.tls != nil) != strings.HasPrefix(tt.want, "https") {
			t.Errorf("%q: %s, %v, want %s", tt.args, got.url, err, tt.want)
		}
	}
}

// TestTrustOnly: only the bridge's own certificate is trusted, and under any address.
func TestTrustOnly(t *testing.T) {
	ca, impostor := certtest.New(t), certtest.New(t)
	ours, theirs := ca.Issue("bridge.example"), impostor.Issue("bridge.example")
	for _, tt := range []struct {
		shown tls.Certificate
		want  int
	}{{ca.Load(ours), http.StatusNotFound}, {impostor.Load(theirs), 0}} {
		srv := httptest.NewUnstartedServer(http.NotFoundHandler())
		srv.Config.ErrorLog = log.New(io.Discard, "", 0) // a client that hangs up is what is tested
		srv.TLS = &tls.Config{Certificates: []tls.Certificate{tt.shown}, MinVersion: tls.VersionTLS12}
		srv.StartTLS()
		trusted, err := trustOnly(ours.Cert)
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: trusted, DisableKeepAlives: true}}
		status := 0
		if res, err := client.Get(srv.URL); err == nil {
			status = res.StatusCode
			_ = res.Body.Close()
		}
		if status != tt.want {
			t.Errorf("status %d, want %d", status, tt.want)
		}
		srv.Close()
	}
}

// TestOperateARunningBridge asks the bridge that the configuration describes, on
// its own listener and with a key.
func TestOperateARunningBridge(t *testing.T) {
	launch.Clean(t)
	key, entry := auth.NewAPIKey("oncall")
	natsAddr, inside := "nats.embedded.addr="+launch.FreeAddr(t), launch.FreeAddr(t)
	p := launch.Start(t, Run, "--set", natsAddr, "--set", "ops.addr="+inside, "--set", "ops.keys="+entry, "--set", "drain.duration=0s")
	defer p.Wait(t)
	t.Setenv(envOpsKey, key)
	got, _, _ := listening(t, "u 1", "--url", p.URL)
	launch.Command(t, Run, exitStopped, "send", "u 1", "verdict", "--set", natsAddr)
	launch.Command(t, Run, exitOffline, "send", "away", "verdict", "--url", p.URL)
	wait.For(t, "the message", func() bool { return strings.Contains(got.String(), "verdict") })
	here := []string{"--set", "ops.addr=" + inside}
	wait.For(t, "the user is listed", func() bool {
		out, _ := launch.Command(t, Run, exitStopped, append([]string{"users"}, here...)...)
		return regexp.MustCompile(`(?m)^USER +SOCKETS +SINCE +NODES\nu 1 +1 +\d+s +\w+\n\n1 user connected\n$`).MatchString(out)
	})
	for user, want := range map[string]string{"u 1": "(pushed)", "away": "(no_socket)", "never": "(never_published)"} {
		wait.For(t, user+" "+want, func() bool {
			out, _ := launch.Command(t, Run, exitStopped, append([]string{"user", user}, here...)...)
			first, _, _ := strings.Cut(out, "\n")
			return strings.HasPrefix(first, user+": ") && strings.HasSuffix(first, want)
		})
	}
	if out, _ := launch.Command(t, Run, exitStopped, append(append([]string{"__complete", "user"}, here...), "u")...); !strings.HasPrefix(out, "u 1\t1 socket\n:4\n") {
		t.Errorf("u is completed with\n%s", out)
	}
	out, _ := launch.Command(t, Run, exitStopped, append([]string{"user", "u 1", "--json"}, here...)...)
	var report admin.UserReport
	if err := json.Unmarshal([]byte(out), &report); err != nil || report.User != "u 1" || len(report.Sockets) != 1 || len(report.Messages) != 1 || report.Messages[0].Topic != "verdict" {
		t.Errorf("%v: %s", err, out)
	}
}
