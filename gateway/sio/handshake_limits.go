package sio

import (
	"context"
	"net/http"
	"net/netip"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/codewar/socketbridge/gateway/limit"
)

// Limits that a handshake can reach, as [Stats] counts its refusals.
const (
	LimitConnectRate = "connect_rate"            // Config.ConnectsPerSecond
	LimitPerAddress  = "connections_per_address" // Config.MaxPerAddress
	LimitConnections = "connections"             // Config.MaxConnections
	LimitOverload    = "overload"                // Config.Overloaded
	LimitHandshakes  = "handshakes"              // Config.MaxHandshakes
)

var handshakeLimits = []string{
	LimitConnectRate, LimitPerAddress, LimitConnections, LimitOverload, LimitHandshakes,
	limit.MemoryPerConnection, limit.MemoryPerAddress, limit.MemoryTotal, // Config.Memory
}

// limits are the limits of handshakes.
type limits struct {
	rates    *limit.Rates[netip.Addr]
	held     *limit.ConcurrencyLimiter
	open     *atomic.Int64 // connections that tooMany has counted and release has not
	connects connectLimiter
	waiting  *atomic.Int64 // handshakes that wait for a connect slot
}

func newLimits(cfg Config) limits {
	return limits{
		rates:    limit.NewRates[netip.Addr](cfg.ConnectsPerSecond, cfg.ConnectBurst),
		held:     limit.NewConcurrencyLimiter(cfg.MaxPerAddress),
		open:     new(atomic.Int64),
		connects: newConnectLimiter(max(runtime.GOMAXPROCS(0)/2, 1)),
		waiting:  new(atomic.Int64),
	}
}

// takeConnectSlot waits for a slot for a handshake. It returns nil when too many handshakes
// wait, or ctx ends first.
func (s *Server) takeConnectSlot(ctx context.Context) *connectSlot {
	n := s.limits.waiting.Add(1)
	defer s.limits.waiting.Add(-1)
	if s.cfg.MaxHandshakes > 0 && n > int64(s.cfg.MaxHandshakes) {
		return nil
	}
	return s.limits.connects.take(ctx)
}

// release counts a connection less, which tooMany has counted.
func (l limits) release(from netip.Addr) {
	l.open.Add(-1)
	l.held.Release(from)
}

// tooFast refuses a handshake of an address that makes too many in a second. It comes first,
// so that it also limits handshakes that another check refuses.
func (s *Server) tooFast(w http.ResponseWriter, from netip.Addr) bool {
	shared, limited := limit.Shared(from)
	if !limited {
		return false
	}
	wait, ok := s.limits.rates.Allow(shared, time.Now())
	if !ok {
		s.refuseBusy(w, http.StatusTooManyRequests, LimitConnectRate, from, wait)
	}
	return !ok
}

// tooMany refuses a handshake that exceeds a limit of connections. When it reports false,
// the connection counts until [limits.release].
func (s *Server) tooMany(w http.ResponseWriter, from netip.Addr) bool {
	const soon = time.Second
	if s.cfg.Overloaded != nil && s.cfg.Overloaded() {
		s.refuseBusy(w, http.StatusServiceUnavailable, LimitOverload, from, soon)
		return true
	}
	if n := s.limits.open.Add(1); s.cfg.MaxConnections > 0 && n > int64(s.cfg.MaxConnections) {
		s.limits.open.Add(-1)
		s.refuseBusy(w, http.StatusServiceUnavailable, LimitConnections, from, soon)
		return true
	}
	if !s.limits.held.Take(from) {
		s.limits.open.Add(-1)
		s.refuseBusy(w, http.StatusTooManyRequests, LimitPerAddress, from, soon)
		return true
	}
	return false
}

// refuseBusy answers a client that may try again. A websocket is refused before the upgrade.
func (s *Server) refuseBusy(w http.ResponseWriter, status int, reached string, from netip.Addr, wait time.Duration) {
	s.metrics.refusals.Add(reached, from)
	w.Header().Set("Retry-After", strconv.Itoa(max(int((wait+time.Second-1)/time.Second), 1)))
	refuse(w, status, tooBusy)
}
