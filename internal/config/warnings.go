package config

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/codewar/socketbridge/bridge"
)

// Warnings returns a sentence for each unsafe combination: the key, the consequence, the remedy.
// `check` prints them, and the process logs them at start. They contain no secrets.
func (c Config) Warnings() []string {
	var w warnings
	c.warnAuth(&w)
	c.warnOps(&w)
	c.warnNATS(&w)
	c.warnRedis(&w)
	return w
}

// warnings collects sentences.
type warnings []string

// when adds a sentence if a condition holds.
func (w *warnings) when(holds bool, format string, args ...any) {
	if holds {
		*w = append(*w, fmt.Sprintf(format, args...))
	}
}

func (c Config) warnAuth(w *warnings) {
	a, none := c.Auth, c.Auth.Mode == AuthNone
	reach := scope(c.HTTP.Addr)
	w.when(none, "auth.mode is none: every client that reaches http.addr, on %s, may claim any user id; set auth.mode to jwt", reach)
	w.when(none && len(a.APIKeys) == 0, "auth.api_keys is empty: every program that reaches http.addr, on %s, may send messages to any user; make a key with `socketbridge key`", reach)
	w.when(!none && a.Issuer == "", "auth.issuer is empty: tokens of every issuer that has one of the keys are accepted")
	w.when(!none && len(a.Audience) == 0, "auth.audience is empty: tokens that were made for other services are accepted")
	w.when(plainURL(a.JWKSURL), "auth.jwks_url is not https: who controls the network can replace the keys")
	w.when(len(c.Origins) == 0, "origins is empty: pages of every origin may connect and send; name those of your site")
}

func (c Config) warnOps(w *warnings) {
	public := c.Ops.Addr != "" && !loopbackAddr(c.Ops.Addr)
	reach := scope(c.Ops.Addr)
	w.when(public && len(c.Ops.Keys) == 0, "ops.keys is empty: every program that reaches ops.addr, on %s, sees users and messages and may send; make a key with `socketbridge key`", reach)
	w.when(public && c.Ops.Pprof, "ops.pprof is true: profiles on ops.addr, on %s, show the inside of the process and slow it down; set it only while you need them", reach)
	w.when(!c.OperatorsRoutes(), "ops.addr and ops.keys are empty: the console, /api/v1, /metrics and /messages are not served, since this is not a plain development start")
}

func (c Config) warnNATS(w *warnings) {
	n := c.NATS
	w.when(n.URL == "" && !loopbackAddr(n.Embedded.Addr), "nats.embedded.addr is %s: logins and messages of publishers cross the network unencrypted; use nats.url with a server that has TLS", n.Embedded.Addr)
	if n.URL == "" {
		return
	}
	var anonymous, plain []string // hosts elsewhere
	for _, server := range list(n.URL) {
		if !strings.Contains(server, "://") {
			server = "nats://" + server
		}
		u, err := url.Parse(server) // Validate has tried
		if err != nil || IsLoopback(u.Hostname()) {
			continue
		}
		login := u.User != nil || n.User != "" || n.Token != "" || n.Creds != "" || n.NKey != "" || n.TLS.Cert != ""
		if !login {
			anonymous = append(anonymous, u.Host)
		}
		if u.Scheme != "tls" && u.Scheme != "wss" && n.TLS.CA == "" && n.TLS.Cert == "" {
			plain = append(plain, u.Host)
		}
	}
	w.when(len(anonymous) > 0, "nats.url names %s and there is no login: every program that reaches it may read and forge messages; set nats.user, nats.token, nats.creds or nats.nkey", strings.Join(anonymous, ", "))
	w.when(len(plain) > 0, "nats.url names %s without TLS: the login and all messages cross the network unencrypted; use tls:// or nats.tls.ca", strings.Join(plain, ", "))
	w.when(len(c.Redis.Addrs) == 0, "redis.addrs is empty: with the in-memory store only one node may use nats.url")
}

func (c Config) warnRedis(w *warnings) {
	r := c.Redis
	elsewhere := slices.DeleteFunc(slices.Clone(r.Addrs), func(a string) bool { return strings.HasPrefix(a, "/") || loopbackAddr(a) })
	names := strings.Join(elsewhere, ", ")
	w.when(names != "" && r.Password == bridge.Secret("") && r.TLS.Cert == "", "redis.addrs names %s and redis.password is empty: every program that reaches it may read and change what is kept there", names)
	w.when(names != "" && !r.TLS.Enabled, "redis.addrs names %s without TLS: the password and all data cross the network unencrypted; set redis.tls.enabled", names)
}

// scope returns an address, and from where it can be reached.
func scope(addr string) string {
	host, _, _ := net.SplitHostPort(addr) // Validate has tried
	switch {
	case IsLoopback(host):
		return addr + " (this machine)"
	case host == "" || host == "0.0.0.0" || host == "::":
		return addr + " (all interfaces)"
	}
	return addr
}

func loopbackAddr(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	return err == nil && IsLoopback(host)
}

// plainURL reports whether answers from a URL could be changed in transit.
func plainURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Scheme == "http" && !IsLoopback(u.Hostname())
}
