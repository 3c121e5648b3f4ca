package subscriber

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/codewar/socketbridge/bridge/certtest"
	"github.com/codewar/socketbridge/subscriber/natstest"
)

// TestServersThatAskWhoWeAre runs the client against servers that let no client in
// without proof: with the right one it works, with another it never does.
func TestServersThatAskWhoWeAre(t *testing.T) {
	t.Parallel()
	for name, serve := range map[string]func(testing.TB) (s *natstest.Instance, right, wrong func(*Config)){
		"password": passwordServer, "token": tokenServer, "nkey": nkeyServer, "creds": credsServer, "mutual tls": tlsServer,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, right, wrong := serve(t)
			cfg := testConfig(s)
			right(&cfg)
			c := open(t, cfg, "a", discard)
			waitFor(t, "client ready", func() bool { return c.Ready() == nil })
			publish(t, c, 0, 1)

			cfg = testConfig(s)
			wrong(&cfg)
			var book logBook
			refused := open(t, cfg, "b", book.logger())
			waitFor(t, "refusal", func() bool { return book.count("nats is away") > 0 })
			if refused.Ready() == nil {
				t.Error("a client without proof is ready")
			}
		})
	}
}

func passwordServer(t testing.TB) (s *natstest.Instance, right, wrong func(*Config)) {
	s = natstest.Server(t, func(o *server.Options) { o.Username, o.Password = "bridge", "right" })
	return s, func(c *Config) { c.User, c.Password = "bridge", "right" },
		func(c *Config) { c.User, c.Password = "bridge", "wrong" }
}

func tokenServer(t testing.TB) (s *natstest.Instance, right, wrong func(*Config)) {
	s = natstest.Server(t, func(o *server.Options) { o.Authorization = "right" })
	return s, func(c *Config) { c.Token = "right" }, func(c *Config) { c.Token = "wrong" }
}

func nkeyServer(t testing.TB) (s *natstest.Instance, right, wrong func(*Config)) {
	user, seed := newKey(t, nkeys.CreateUser)
	_, other := newKey(t, nkeys.CreateUser)
	s = natstest.Server(t, func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: user}} })
	return s, func(c *Config) { c.NKey = seed }, func(c *Config) { c.NKey = other }
}

// credsServer trusts an operator, as servers with accounts do.
func credsServer(t testing.TB) (s *natstest.Instance, right, wrong func(*Config)) {
	operator, account := newPair(t, nkeys.CreateOperator), newPair(t, nkeys.CreateAccount)
	claims := jwt.NewAccountClaims(public(t, account))
	claims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	token, err := claims.Encode(operator)
	if err != nil {
		t.Fatal(err)
	}
	resolver := &server.MemAccResolver{}
	if err := resolver.Store(public(t, account), token); err != nil {
		t.Fatal(err)
	}
	system := newPair(t, nkeys.CreateAccount)
	systemToken, err := jwt.NewAccountClaims(public(t, system)).Encode(operator)
	if err != nil {
		t.Fatal(err)
	}
	if err := resolver.Store(public(t, system), systemToken); err != nil {
		t.Fatal(err)
	}
	s = natstest.Server(t, func(o *server.Options) {
		o.TrustedKeys = []string{public(t, operator)}
		o.AccountResolver = resolver
		o.SystemAccount = public(t, system)
	})
	return s, func(c *Config) { c.Creds = credsFile(t, account) },
		func(c *Config) { c.Creds = credsFile(t, newPair(t, nkeys.CreateAccount)) }
}

// credsFile makes a user of an account.
func credsFile(t testing.TB, account nkeys.KeyPair) (path string) {
	user := newPair(t, nkeys.CreateUser)
	token, err := jwt.NewUserClaims(public(t, user)).Encode(account)
	if err != nil {
		t.Fatal(err)
	}
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.FormatUserConfig(token, seed)
	if err != nil {
		t.Fatal(err)
	}
	return file(t, "user.creds", text)
}

func tlsServer(t testing.TB) (s *natstest.Instance, right, wrong func(*Config)) {
	ours, theirs := certtest.New(t), certtest.New(t)
	s = natstest.Server(t, func(o *server.Options) {
		o.TLSConfig = &tls.Config{
			Certificates: []tls.Certificate{ours.Load(ours.Issue("nats"))}, MinVersion: tls.VersionTLS12,
			ClientCAs: ours.Pool(), ClientAuth: tls.RequireAndVerifyClientCert,
		}
		o.TLS, o.TLSVerify = true, true
	})
	show := func(a *certtest.Authority) func(*Config) {
		return func(c *Config) {
			pair := a.Issue("bridge")
			c.TLS = TLSConfig{CA: ours.File, Cert: pair.Cert, Key: pair.Key}
		}
	}
	return s, show(ours), show(theirs)
}

// TestServerOfAnotherAuthorityIsNotBelieved: the other half of mutual TLS.
func TestServerOfAnotherAuthorityIsNotBelieved(t *testing.T) {
	t.Parallel()
	s, right, _ := tlsServer(t)
	cfg := testConfig(s)
	right(&cfg)
	cfg.TLS.CA = certtest.New(t).File
	var book logBook
	c := open(t, cfg, "a", book.logger())
	waitFor(t, "refusal", func() bool { return book.count("unknown authority") > 0 })
	if c.Ready() == nil {
		t.Error("ready with a server that anybody may be")
	}
}

// TestCertificatesAreReadAgain: a pair that was renewed on the disk is what the next
// connection shows.
func TestCertificatesAreReadAgain(t *testing.T) {
	t.Parallel()
	ours, theirs := certtest.New(t), certtest.New(t)
	s := natstest.Server(t, func(o *server.Options) {
		o.TLSConfig = &tls.Config{
			Certificates: []tls.Certificate{ours.Load(ours.Issue("nats"))}, MinVersion: tls.VersionTLS12,
			ClientCAs: ours.Pool(), ClientAuth: tls.RequireAndVerifyClientCert,
		}
		o.TLS, o.TLSVerify = true, true
	})
	pair := theirs.Issue("bridge")
	cfg := testConfig(s)
	cfg.TLS = TLSConfig{CA: ours.File, Cert: pair.Cert, Key: pair.Key}
	var book logBook
	c := open(t, cfg, "a", book.logger())
	waitFor(t, "refusal", func() bool { return book.count("nats is away") > 0 })

	renewed := ours.Issue("bridge")
	for from, to := range map[string]string{renewed.Key: pair.Key, renewed.Cert: pair.Cert} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "client ready", func() bool { return c.Ready() == nil })
}

// newKey makes a key of a kind, and a file with its seed.
func newKey(t testing.TB, create func() (nkeys.KeyPair, error)) (id, seedFile string) {
	t.Helper()
	k := newPair(t, create)
	seed, err := k.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return public(t, k), file(t, "seed", append(seed, '\n'))
}

func newPair(t testing.TB, create func() (nkeys.KeyPair, error)) nkeys.KeyPair {
	t.Helper()
	k, err := create()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func public(t testing.TB, k nkeys.KeyPair) string {
	t.Helper()
	id, err := k.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func file(t testing.TB, name string, content []byte) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
