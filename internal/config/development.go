package config

import "net"

// PlainDevelopment reports whether the NATS server and the store are embedded and no setting of a
// production deployment is present. Only then does the public listener serve the try-it page and,
// to this machine without a key, the operators' routes. docs/operators.md lists the conditions.
func (c Config) PlainDevelopment() bool {
	host, _, err := net.SplitHostPort(c.NATS.Embedded.Addr)
	return c.NATS.URL == "" && err == nil && IsLoopback(host) && len(c.Redis.Addrs) == 0 &&
		c.Node.Env == Development &&
		c.Auth.Mode == AuthNone && !c.Auth.AllowInsecure && len(c.Auth.APIKeys) == 0 &&
		len(c.Origins) == 0 && len(c.HTTP.TrustedProxies) == 0 && c.HTTP.TLS.Cert == "" &&
		c.Ops.Addr == "" && len(c.Ops.Keys) == 0
}

// OperatorsRoutes reports whether the operators' routes are served at all.
func (c Config) OperatorsRoutes() bool {
	return c.Ops.Addr != "" || len(c.Ops.Keys) > 0 || c.PlainDevelopment()
}
