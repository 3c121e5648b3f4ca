package app_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/codewar/socketbridge/bridge/certtest"
	"github.com/codewar/socketbridge/internal/cli"
	"github.com/codewar/socketbridge/internal/testutil/capture"
	"github.com/codewar/socketbridge/internal/testutil/launch"
	"github.com/codewar/socketbridge/store/redistest"
	"github.com/codewar/socketbridge/subscriber/natstest"
)

// TestSecretsAreShownNowhere runs the program with a secret in every place that
// takes one, against servers that take them and servers that refuse, and reads
// all that comes out.
func TestSecretsAreShownNowhere(t *testing.T) {
	const secret = "hunter2"
	ca := certtest.New(t)
	pair := ca.Issue("redis")
	redis := redistest.TLS(t, ca.File, pair.Cert, pair.Key)
	redis.Do("ACL SETUSER bridge on >" + secret + " ~* &* +@all")
	nats := natstest.Server(t, func(o *server.Options) { o.Username, o.Password = "bridge", secret })
	closed := launch.FreeAddr(t)

	good := map[string]string{
		"NATS_URL": nats.URL(), "NATS_USER": "bridge", "NATS_PASSWORD_FILE": launch.SecretFile(t, secret+"\n"),
		"REDIS_ADDRS": redis.Addr, "REDIS_USERNAME": "bridge", "REDIS_PASSWORD_FILE": launch.SecretFile(t, secret),
		"REDIS_TLS_ENABLED": "true", "REDIS_TLS_CA": ca.File, "REDIS_TLS_CERT": pair.Cert, "REDIS_TLS_KEY": pair.Key,
	}
	for name, tt := range map[string]struct {
		env  map[string]string // over good; empty removes
		says string            // in the log; empty: it becomes ready
	}{
		"from files":               {nil, ""},
		"from the environment":     {map[string]string{"NATS_PASSWORD_FILE": "", "NATS_PASSWORD": secret, "REDIS_PASSWORD_FILE": "", "REDIS_PASSWORD": secret}, ""},
		"in the address":           {map[string]string{"NATS_URL": withUser(nats.URL(), "bridge:"+secret), "NATS_USER": "", "NATS_PASSWORD_FILE": ""}, ""},
		"wrong for nats":           {map[string]string{"NATS_PASSWORD_FILE": "", "NATS_PASSWORD": "not-" + secret}, "nats is away"},
		"wrong in the address":     {map[string]string{"NATS_URL": withUser(nats.URL(), "bridge:not-"+secret), "NATS_USER": "", "NATS_PASSWORD_FILE": ""}, "nats is away"},
		"wrong token":              {map[string]string{"NATS_USER": "", "NATS_PASSWORD_FILE": "", "NATS_TOKEN": "not-" + secret}, "nats is away"},
		"wrong for redis":          {map[string]string{"REDIS_PASSWORD_FILE": "", "REDIS_PASSWORD": "not-" + secret}, "redis"},
		"nobody there":             {map[string]string{"NATS_URL": withUser("nats://"+closed, "bridge:"+secret), "NATS_USER": "", "NATS_PASSWORD_FILE": "", "REDIS_ADDRS": closed}, "nats is away"},
		"sentinels that are none":  {map[string]string{"REDIS_MASTER_NAME": "m", "REDIS_SENTINEL_PASSWORD": secret}, "redis"},
		"a server that encrypts":   {map[string]string{"NATS_URL": withUser("tls://"+redis.Addr, "bridge:"+secret), "NATS_USER": "", "NATS_PASSWORD_FILE": ""}, "nats is away"},
		"the embedded server's":    {map[string]string{"NATS_URL": "", "NATS_EMBEDDED_ADDR": launch.FreeAddr(t)}, ""},
		"the embedded one's token": {map[string]string{"NATS_URL": "", "NATS_EMBEDDED_ADDR": launch.FreeAddr(t), "NATS_USER": "", "NATS_PASSWORD_FILE": "", "NATS_TOKEN": secret}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			launch.Clean(t)
			for _, env := range []map[string]string{good, tt.env} {
				for k, v := range env {
					t.Setenv(k, v)
				}
			}
			var checked capture.Text
			if code := cli.Run(t.Context(), []string{"check"}, &checked, &checked); code != exitStopped {
				t.Fatalf("check: exit status %d:\n%s", code, &checked)
			}
			addr := launch.FreeAddr(t)
			inside := launch.FreeAddr(t)
			t.Setenv("HTTP_ADDR", addr)
			t.Setenv("OPS_ADDR", inside)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var log capture.Text
			status := make(chan int, 1)
			go func() { status <- cli.Run(ctx, []string{"--log-level", "debug"}, &log, &log) }()
			var ready, metrics, logs string
			for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
				code, body := (&program{&launch.Program{URL: "http://" + inside}}).Get("/readyz")
				ready += body
				if tt.says == "" && code == http.StatusOK || tt.says != "" && code != 0 && strings.Contains(log.String()+ready, tt.says) {
					_, metrics = (&program{&launch.Program{URL: "http://" + inside}}).Get("/metrics")
					_, logs = (&program{&launch.Program{URL: "http://" + inside}}).Get("/api/v1/logs")
					break
				}
			}
			if metrics == "" {
				t.Errorf("neither ready nor %q in the log:\n%s\n%s", tt.says, &log, ready)
			}
			var dead capture.Text
			if tt.says != "" {
				cli.Run(ctx, []string{"dead", "ls"}, &dead, &dead)
			}
			cancel()
			<-status
			for where, text := range map[string]string{"check": checked.String(), "the log": log.String(), "/readyz": ready, "/metrics": metrics, "/api/v1/logs": logs, "dead ls": dead.String()} {
				if strings.Contains(text, secret) {
					t.Errorf("%s shows the secret:\n%s", where, text)
				}
			}
		})
	}
}

// withUser puts user:password into an address.
func withUser(url, user string) string { return strings.Replace(url, "://", "://"+user+"@", 1) }
