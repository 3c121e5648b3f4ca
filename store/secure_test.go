package store_test

import (
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/bridge/bridgetest"
	"github.com/codewar/socketbridge/bridge/certtest"
	"github.com/codewar/socketbridge/store"
	"github.com/codewar/socketbridge/store/redistest"
)

// least reads what the bridge's user may do from deploy/redis/users.acl.
func least(t testing.TB) (rules string) {
	t.Helper()
	text, err := os.ReadFile("../deploy/redis/users.acl")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "user bridge on #BRIDGE_PASSWORD_SHA256 ")
	rules, _, _ = strings.Cut(after, "\n")
	if !strings.HasPrefix(rules, "resetkeys ~bridge:* ") {
		t.Fatalf("rules of the bridge are %q", rules)
	}
	return rules
}

// secure starts a server that speaks TLS only and asks for a certificate.
func secure(t testing.TB, ours *certtest.Authority) (*redistest.Redis, store.Config) {
	t.Helper()
	pair, own := ours.Issue("redis"), ours.Issue("bridge")
	server := redistest.TLS(t, ours.File, pair.Cert, pair.Key)
	server.Do("ACL SETUSER bridge on >right " + least(t))
	server.Do("ACL SETUSER default off")
	return server, store.Config{
		Addrs: []string{server.Addr}, Username: "bridge", Password: "right", Prefix: "bridge:" + rand.Text(), Timeout: 10 * time.Second,
		TLS: store.TLS{Enabled: true, CA: ours.File, Cert: own.Cert, Key: own.Key},
	}
}

// TestRedisWithTLS runs the whole suite as a user who may do nothing else.
func TestRedisWithTLS(t *testing.T) {
	t.Parallel()
	_, cfg := secure(t, certtest.New(t))
	bridgetest.TestStore(t, func(t testing.TB, l bridgetest.Limits) func(bridge.NodeID) bridge.Store {
		cfg := cfg
		cfg.Prefix = "bridge:" + rand.Text()
		return func(id bridge.NodeID) bridge.Store { return openRedis(t, cfg, l, id) }
	})
}

// TestRedisRefuses: whoever is not let in is told why, except by a server that hangs
// up in the middle of a handshake.
func TestRedisRefuses(t *testing.T) {
	t.Parallel()
	ours, theirs := certtest.New(t), certtest.New(t)
	_, good := secure(t, ours)
	foreign := theirs.Issue("bridge")
	for name, tt := range map[string]struct {
		edit func(*store.Config)
		says string
	}{
		"the right one":      {func(*store.Config) {}, ""},
		"the server's name":  {func(c *store.Config) { c.TLS.ServerName = "localhost" }, ""},
		"wrong password":     {func(c *store.Config) { c.Password = "wrong-one" }, "WRONGPASS"},
		"other user":         {func(c *store.Config) { c.Username = "default" }, "WRONGPASS"},
		"other keys":         {func(c *store.Config) { c.Prefix = "other" }, "NOPERM"},
		"no encryption":      {func(c *store.Config) { c.TLS = store.TLS{} }, "not available"},
		"no certificate":     {func(c *store.Config) { c.TLS.Cert, c.TLS.Key = "", "" }, "not available"},
		"foreign one":        {func(c *store.Config) { c.TLS.Cert, c.TLS.Key = foreign.Cert, foreign.Key }, "not available"},
		"foreign server":     {func(c *store.Config) { c.TLS.CA = theirs.File }, "unknown authority"},
		"another name":       {func(c *store.Config) { c.TLS.ServerName = "redis.example" }, "redis.example"},
		"system authorities": {func(c *store.Config) { c.TLS.CA = "" }, "certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			tt.edit(&cfg)
			_, err := openRedis(t, cfg, bridgetest.Limits{}, "a").Beat(t.Context())
			switch {
			case tt.says == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)):
				t.Errorf("got %v, want an error with %q", err, tt.says)
			case tt.says != "" && (strings.Contains(err.Error(), "right") || strings.Contains(err.Error(), "wrong-one")):
				t.Errorf("the error shows a password: %v", err)
			}
		})
	}
}

// TestRedisCertificateIsReadAgain: a pair that was renewed on the disk is what the
// next connection shows.
func TestRedisCertificateIsReadAgain(t *testing.T) {
	t.Parallel()
	ours := certtest.New(t)
	_, cfg := secure(t, ours)
	foreign := certtest.New(t).Issue("bridge")
	own := cfg.TLS
	cfg.TLS.Cert, cfg.TLS.Key = foreign.Cert, foreign.Key
	r := openRedis(t, cfg, bridgetest.Limits{}, "a")
	if _, err := r.Beat(t.Context()); err == nil {
		t.Fatal("a foreign certificate is good enough")
	}
	for from, to := range map[string]string{own.Key: foreign.Key, own.Cert: foreign.Cert} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "a beat with the renewed pair", func() bool { _, err := r.Beat(t.Context()); return err == nil })
}

// TestConnectionsThatTakeLongToMake: a connection that takes longer than one call to make serves
// the next one.
func TestConnectionsThatTakeLongToMake(t *testing.T) {
	t.Parallel()
	_, cfg := secure(t, certtest.New(t))
	cfg.TLS.ServerName, cfg.Timeout = "127.0.0.1", 200*time.Millisecond
	cfg.Addrs[0] = slowly(t, cfg.Addrs[0], 3*cfg.Timeout)
	r := openRedis(t, cfg, bridgetest.Limits{}, "a")
	if err := r.Ping(t.Context()); !errors.Is(err, bridge.ErrUnavailable) {
		t.Errorf("the first call: %v, want bridge.ErrUnavailable", err)
	}
	waitFor(t, "a call that is answered", func() bool { return r.Ping(t.Context()) == nil })
}

// slowly passes connections on to a server, each after a delay, and returns where it listens.
func slowly(t testing.TB, server string, delay time.Duration) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(serving.Wait)
	t.Cleanup(func() { l.Close() })
	serving.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer client.Close()
				<-time.After(delay)
				to, err := net.Dial("tcp", server)
				if err != nil {
					return
				}
				defer to.Close()
				serving.Go(func() { _, _ = io.Copy(client, to); client.Close() })
				_, _ = io.Copy(to, client)
			})
		}
	})
	return l.Addr().String()
}

func TestRedisCertificateThatIsNone(t *testing.T) {
	t.Parallel()
	pair := certtest.New(t).Issue("x")
	for name, conf := range map[string]store.TLS{
		"no such file": {Enabled: true, CA: "nope.pem"},
		"not one":      {Enabled: true, CA: pair.Key},
		"not a pair":   {Enabled: true, Cert: pair.Key, Key: pair.Cert},
	} {
		if _, err := store.OpenRedis(t.Context(), store.Config{Addrs: []string{"x:1"}, TLS: conf}, store.Limits{}, "a", slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
