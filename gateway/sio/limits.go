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

// limits is what handshakes are held against.
type limits struct {
	rates *limit.Rates[netip.Addr]
	held  *limit.ConcurrencyLimiter
	open  *atomic.Int64 // connections that tooMany has let in and that are not gone

	turns   turns         // of all that connects cost
	waiting *atomic.Int64 // handshakes that wait for their turn
}

func newLimits(cfg Config) limits {
	return limits{
		rates: limit.NewRates[netip.Addr](cfg.ConnectsPerSecond, cfg.ConnectBurst),
		held:  limit.NewConcurrencyLimiter(cfg.MaxPerAddress),
		open:  new(atomic.Int64),

		turns:   newTurns(max(runtime.GOMAXPROCS(0)/2, 1)),
		waiting: new(atomic.Int64),
	}
}

// takeTurn waits for a handshake's turn. It returns nil when too many wait or the client
// has left.
func (s *Server) takeTurn(ctx context.Context) *turn {
	n := s.limits.waiting.Add(1)
	defer s.limits.waiting.Add(-1)
	if s.cfg.MaxHandshakes > 0 && n > int64(s.cfg.MaxHandshakes) {
		return nil
	}
	return s.limits.turns.take(ctx) // given back by turns.end
}

// release gives back what tooMany has taken.
func (l limits) release(from netip.Addr) {
	l.open.Add(-1)
	l.held.Release(from)
}

// tooFast refuses a handshake of an address that makes too many. It is asked
// first, so that it also bounds handshakes that are refused later.
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

// tooMany refuses a handshake for which there is no room. When it reports false
// the connection is counted, until [limits.release].
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

// refuseBusy answers a client that may well come back. For a websocket it comes
// before the upgrade.
func (s *Server) refuseBusy(w http.ResponseWriter, status int, reached string, from netip.Addr, wait time.Duration) {
	s.metrics.refusals.Add(reached, from)
	w.Header().Set("Retry-After", strconv.Itoa(max(int((wait+time.Second-1)/time.Second), 1)))
	refuse(w, status, tooBusy)
}
