package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/internal/logging"
	"github.com/codewar/socketbridge/subscriber"
)

// Validate reports every value outside its range and every combination that cannot work, as an
// [*Error].
func (c Config) Validate() error {
	v := validation{from: c.from}
	settings := settingsOf(&c)
	for _, s := range settings {
		want := s.outside()
		v.require(want == "", s.key, s.field.Interface(), "must be "+want)
	}
	c.checkHTTP(&v)
	c.checkSockets(&v)
	c.checkNode(&v)
	c.checkNATS(&v)
	c.checkRedis(&v)
	c.checkAuth(&v)
	c.checkCanary(&v)
	c.checkTraces(&v)
	slices.SortStableFunc(v.problems, func(a, b problem) int { return position(settings, a.key) - position(settings, b.key) })
	return errorOf(v.problems)
}

// position returns the place of a key in the declaration. Problems without a key come last.
func position(settings []setting, key string) int {
	if i := slices.IndexFunc(settings, func(s setting) bool { return s.key == key }); i >= 0 {
		return i
	}
	return len(settings)
}

// validation collects problems.
type validation struct {
	from     map[string]string
	problems []problem
}

// require records a problem with a key unless ok.
func (v *validation) require(ok bool, key string, value any, why string) {
	if !ok {
		v.problems = append(v.problems, newProblem(key, shown(key, value), v.from[key], why))
	}
}

func (c Config) checkHTTP(v *validation) {
	v.require(validAddr(c.HTTP.Addr), "http.addr", c.HTTP.Addr, "must be host:port or :port")
	for _, p := range c.HTTP.TrustedProxies {
		_, err := parseNetwork(p)
		v.require(err == nil, "http.trusted_proxies", p, "must be a network or an address, such as 10.0.0.0/8")
	}
	v.require((c.HTTP.TLS.Cert == "") == (c.HTTP.TLS.Key == ""), "http.tls.cert", c.HTTP.TLS.Cert, "must be set together with http.tls.key, or not at all")

	for _, o := range c.Origins {
		v.require(o != "*", "origins", o, "must be the origins by name: with credentials, * would let any page act for its visitor (empty, for development, does just that)")
		v.require(o == "*" || validOrigin(o), "origins", o, "must be scheme://host or scheme://host:port, such as https://codewar.example")
	}

	v.require(c.Ops.Addr == "" || validAddr(c.Ops.Addr), "ops.addr", c.Ops.Addr, "must be host:port, or nothing to serve it on http.addr")
	sameAddr := c.Ops.Addr == c.HTTP.Addr && !strings.HasSuffix(c.Ops.Addr, ":0")
	v.require(!sameAddr, "ops.addr", c.Ops.Addr, "must be another address than http.addr, or nothing to serve it there")
	v.require(!c.Ops.Pprof || c.Ops.Addr != "", "ops.pprof", c.Ops.Pprof, "needs ops.addr: profiles are never on http.addr")
	v.require(!c.Ops.TLS || c.Ops.Addr != "" && c.HTTP.TLS.Cert != "", "ops.tls", c.Ops.TLS, "must be false without ops.addr and http.tls.cert")
	v.require(slices.Contains([]string{logging.Text, logging.JSON}, c.Log.Format), "log.format", c.Log.Format, "must be text or json")
}

func (c Config) checkSockets(v *validation) {
	s := c.Sockets
	v.require(validTransports(s.Transports), "sockets.transports", s.Transports, "must be websocket, polling or both")
	read := float64(s.InboundRate) * c.HTTP.ReadTimeout.Seconds() // bytes; 0 without a rate, negative for values that are refused above
	v.require(read <= 0 || read >= float64(s.MaxInbound), "sockets.inbound_rate", s.InboundRate,
		"must let a message of sockets.max_inbound come within http.read_timeout")
	// A socket could never receive a message that is larger than its bound.
	v.require(c.HTTP.MaxBody <= int64(s.MaxPending) && s.MaxPending <= 1<<30, "sockets.max_pending", s.MaxPending, fmt.Sprintf("must be %d to %d", c.HTTP.MaxBody, 1<<30))
	// One connection may hold two messages that are being read, and a full queue.
	need := int64(s.MaxPending) + 2*s.MaxInbound
	memory := func(key string, bound int64) {
		v.require(bound == 0 || bound >= need, key, bound, fmt.Sprintf("must be 0 or at least sockets.max_pending and twice sockets.max_inbound, %d", need))
	}
	memory("sockets.max_memory", s.Memory.Total)
	memory("sockets.max_memory_per_address", s.Memory.PerAddress)
	memory("sockets.max_memory_per_connection", s.Memory.PerConnection)
	v.require(s.PerUser == PerUserAll || s.PerUser == PerUserLatest, "sockets.per_user", s.PerUser, "must be all or latest")

}

func (c Config) checkNode(v *validation) {
	v.require(c.Node.ID == "" || bridge.ValidNodeID(c.Node.ID), "node.id", c.Node.ID, "must be 1 to 64 characters of A-Z, a-z, 0-9, _ and -, or nothing for a random one")
}

// checkNATS checks the addresses; the subscriber checks the rest.
func (c Config) checkNATS(v *validation) {
	for _, u := range list(c.NATS.URL) {
		v.require(validNATS(u), "nats.url", c.NATS.URL, "must be nats://host:port (or tls://, ws://, wss://), several with commas between them")
	}
	for _, err := range unjoin(c.NATS.Validate()) {
		v.problems = append(v.problems, newProblem("", "", "", oneLine(err)))
	}
}

func (c Config) checkRedis(v *validation) {
	r := c.Redis
	for _, a := range r.Addrs {
		v.require(strings.HasPrefix(a, "/") || validDial(a), "redis.addrs", a, "must be host:port, or the path of a unix socket")
	}
	// Without an address the bridge would silently use the in-memory store.
	none := len(r.Addrs) == 0
	for _, s := range []struct{ key, value string }{
		{"redis.master_name", r.MasterName}, {"redis.username", r.Username}, {"redis.password", r.Password.Reveal()},
	} {
		v.require(!none || s.value == "", s.key, s.value, "needs redis.addrs (or REDIS_HOST)")
	}
	cluster := r.MasterName == "" && (r.Cluster || len(r.Addrs) > 1)
	v.require(!r.Cluster || r.MasterName == "", "redis.cluster", r.Cluster, "must be false with redis.master_name, which makes the addresses Sentinels")
	v.require(r.DB >= 0, "redis.db", r.DB, "must be 0 or more")
	v.require(!cluster || r.DB == 0, "redis.db", r.DB, "must be 0: several addresses without redis.master_name are a Cluster, which has one database")
	v.require(r.MasterName != "" || r.SentinelPassword == "", "redis.sentinel_password", r.SentinelPassword, "needs redis.master_name")
	v.require(!strings.ContainsAny(r.Prefix, "{} "), "redis.prefix", r.Prefix, "must be text without braces and spaces, or nothing for one that nats.subject_prefix gives")
	v.require(0 <= r.PoolSize && r.PoolSize <= 10_000, "redis.pool_size", r.PoolSize, "must be 0 to 10000")
	v.require(10*time.Millisecond <= r.Timeout && r.Timeout < c.Node.Lease, "redis.timeout", r.Timeout, "must be 10ms or more, and less than node.lease")

	tls := r.TLS
	v.require((tls.Cert == "") == (tls.Key == ""), "redis.tls.cert", tls.Cert, "must be set together with redis.tls.key, or not at all")
	v.require(tls.Enabled || tls.CA+tls.Cert+tls.Key+tls.ServerName == "", "redis.tls.enabled", tls.Enabled, "must be true when other keys of redis.tls are set")
}

func (c Config) checkCanary(v *validation) {
	v.require(c.Canary.Interval == 0 || c.Canary.Interval >= 100*time.Millisecond, "canary.interval", c.Canary.Interval, "must be 100ms or more, or 0s for no canary")
	v.require(c.Canary.Interval == 0 || c.Canary.Limit > c.Canary.Interval+subscriber.LeaderChange, "canary.limit", c.Canary.Limit,
		"must be more than canary.interval and the 2s in which a leader is replaced, or all nodes would be unready at each change")
}

func (c Config) checkTraces(v *validation) {
	u, err := url.Parse(c.Traces.Endpoint)
	ok := err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == ""
	v.require(c.Traces.Endpoint == "" || ok, "traces.endpoint", c.Traces.Endpoint, "must be http://host:port or https://host:port; what else a collector wants to know is in OTEL_EXPORTER_OTLP_HEADERS")
	v.require(0 <= c.Traces.Ratio && c.Traces.Ratio <= 1, "traces.ratio", c.Traces.Ratio, "must be 0 to 1")
}

// validAddr accepts addresses to listen on.
func validAddr(s string) bool {
	_, port, err := net.SplitHostPort(s)
	return err == nil && validPort(port)
}

// validDial accepts addresses to connect to.
func validDial(s string) bool {
	host, port, err := net.SplitHostPort(s)
	return err == nil && host != "" && port != "0" && validPort(port) && !strings.ContainsAny(host, "/@ ")
}

func validPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

func validTransports(names []string) bool {
	known := []string{"websocket", "polling"}
	return len(names) > 0 && len(unique(names)) == len(names) &&
		!slices.ContainsFunc(names, func(n string) bool { return !slices.Contains(known, n) })
}

// validOrigin accepts origins as browsers send them: without a path or a trailing slash.
func validOrigin(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme != "" && u.Host != "" && s == u.Scheme+"://"+u.Host
}

// Proxies returns the networks of http.trusted_proxies.
func (h HTTP) Proxies() []netip.Prefix {
	networks := make([]netip.Prefix, len(h.TrustedProxies))
	for i, p := range h.TrustedProxies {
		networks[i], _ = parseNetwork(p) // Validate has refused invalid ones
	}
	return networks
}

// parseNetwork parses a network, or an address as the network that contains only it.
func parseNetwork(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.ParsePrefix(s)
}

// validNATS accepts the URL of a server, without path or query.
func validNATS(s string) bool {
	if !strings.Contains(s, "://") {
		s = "nats://" + s
	}
	u, err := url.Parse(s)
	return err == nil && slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) && u.Hostname() != "" &&
		strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && u.Fragment == "" // a path is usually a password that contains a slash
}

// unjoin returns the errors that errors.Join has joined, at any depth.
func unjoin(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		if err == nil {
			return nil
		}
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, unjoin(e)...)
	}
	return all
}
