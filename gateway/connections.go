package gateway

import (
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/codewar/socketbridge/gateway/limit"
	"github.com/codewar/socketbridge/internal/metrics"
)

// ConnectionLimits bound how many connections of any kind are open at a time. 0 is no limit.
type ConnectionLimits struct {
	Most       int // of the public listener
	Idle       int // of those, connections without a request
	PerAddress int // of one address, on the public listener; not of Config.TrustedProxies
	Operators  int // of the operators' own listener
}

// Limits of connections, as [Server.Refusals] counts them.
const (
	limitOpen           = "open_connections"             // refused, as all others were in use
	limitOpenPerAddress = "open_connections_per_address" // refused
	limitIdle           = "idle_connections"             // closed for a new one
)

var connectionLimits = []string{limitOpen, limitOpenPerAddress, limitIdle}

// connections bounds the open connections of each listener.
type connections struct {
	limits  ConnectionLimits
	proxies []netip.Prefix
	reached func(string, netip.Addr)

	public, operators atomic.Pointer[limit.Listener] // nil until they serve
}

var listenerLimits = map[limit.ListenerLimit]string{
	limit.TotalReached:   limitOpen,
	limit.AddressReached: limitOpenPerAddress,
	limit.IdleEvicted:    limitIdle,
}

func (c *connections) config(most, idle, perAddress int) limit.ListenerConfig {
	return limit.ListenerConfig{
		Most: most, Idle: idle, PerAddress: perAddress,
		Exempt: func(from netip.Addr) bool {
			for _, p := range c.proxies {
				if p.Contains(from) {
					return true
				}
			}
			return false
		},
		Reached: func(l limit.ListenerLimit, from netip.Addr) { c.reached(listenerLimits[l], from) },
	}
}

// bound bounds the connections of the public listener.
func (c *connections) bound(l net.Listener) net.Listener {
	bounded := limit.Listen(l, c.config(c.limits.Most, c.limits.Idle, c.limits.PerAddress))
	c.public.Store(bounded)
	return bounded
}

// boundOperators does the same for the operators' own listener. A flood of connections on the public
// one does not affect it.
func (c *connections) boundOperators(l net.Listener) net.Listener {
	bounded := limit.Listen(l, c.config(c.limits.Operators, 0, 0))
	c.operators.Store(bounded)
	return bounded
}

// connState tells the listener which connections are idle, see [http.Server.ConnState].
func connState(nc net.Conn, state http.ConnState) {
	if c := limit.ConnOf(nc); c != nil {
		c.SetIdle(state == http.StateNew || state == http.StateIdle)
	}
}

// measure registers how many connections are open.
func (c *connections) measure(reg prometheus.Registerer) {
	for name, on := range map[string]*atomic.Pointer[limit.Listener]{"http": &c.public, "ops": &c.operators} {
		metrics.Gauge(reg, "bridge_gateway_open_connections", "Connections that are open, whatever they are for, by listener: http, ops. Those of Socket.IO are among them.", func() int {
			if l := on.Load(); l != nil {
				return l.Open()
			}
			return 0
		}, "listener", name)
	}
}
