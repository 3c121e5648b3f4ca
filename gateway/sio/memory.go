package sio

import (
	"cmp"
	"errors"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/codewar/socketbridge/gateway/limit"
)

// What is held for a client counts in its account (limit.Memory): what it presents until it
// has joined, messages while they arrive, events that wait for the Handler, and what waits to
// be written. An account is small to begin with; that it is there is bounded by
// Config.MaxConnections and Config.MaxPerAddress.

// errMemory means that a bound of Config.Memory was exceeded. The connection has been ended.
var errMemory = errors.New("too much memory")

// memoryReasons are the reasons for the end of a connection, by the limit that was exceeded.
var memoryReasons = map[string]string{
	limit.MemoryPerConnection: ReasonMemory,
	limit.MemoryPerAddress:    ReasonAddressMemory,
	limit.MemoryTotal:         ReasonTotalMemory,
}

// openAccount makes the account of a connection whose handshake holds n bytes. Without one
// the client has its answer.
func (s *Server) openAccount(w http.ResponseWriter, from netip.Addr, n int) *limit.Account {
	a := s.memory.Open(from)
	if reached := s.relieve(a, a.Add(n)); reached != "" {
		a.Release(n)
		a.Close()
		s.refuseBusy(w, http.StatusServiceUnavailable, reached, from, time.Second)
		return nil
	}
	return a
}

// take counts n bytes more for the client, before they are allocated. When a bound does not
// allow them it ends the connection and reports false.
func (c *conn) take(n int) bool {
	reached := c.srv.relieve(c.memory, c.memory.Add(n))
	if reached == "" {
		return true
	}
	c.memory.Release(n)
	c.end(memoryReasons[reached], abort)
	return false
}

// relieve is told the level of an account after something was added. When a shared bound is
// crowded it releases memory: it writes what clients take at once, and then ends connections.
// It returns the limit that is exceeded all the same, "" for none. It does not wait for a
// client. The caller must hold no lock of this package but conn.inbound.
func (s *Server) relieve(a *limit.Account, l limit.Level) (reached string) {
	if l.Crowded {
		s.Flush()
		s.evictor.evict(s, a)
		l = a.Level()
	}
	return l.Exceeded
}

// evictor ends the connections that hold most, so that clients with little to say are served
// while others fill the memory.
type evictor struct {
	mu   sync.Mutex // held while connections are chosen
	idle time.Time  // when it found last that nothing was left to do
}

// evictionPause is how long the evictor looks for nothing after it had nothing to do: all that
// was to be ended is ending, and a look at every connection costs time.
const evictionPause = time.Millisecond

// evict makes room for the account below the shared bounds that are crowded. When another
// eviction is under way it does nothing.
func (e *evictor) evict(s *Server, a *limit.Account) {
	if !e.mu.TryLock() {
		return
	}
	defer e.mu.Unlock()
	if time.Since(e.idle) < evictionPause {
		return
	}
	ofAddress, ofAll := a.Room()
	holders := s.holders()
	for _, h := range holders { // what is ending already
		if h.c.evicted.Load() {
			ofAddress, ofAll = h.leaves(a, ofAddress, ofAll)
		}
	}
	if ofAddress <= 0 && ofAll <= 0 {
		e.idle = time.Now()
		return
	}
	for _, h := range holders {
		if h.c.evicted.Load() {
			continue
		}
		switch {
		case ofAll > 0:
			h.c.evict(ReasonTotalMemory)
		case ofAddress > 0 && h.c.memory.SameAddress(a):
			h.c.evict(ReasonAddressMemory)
		default:
			continue
		}
		ofAddress, ofAll = h.leaves(a, ofAddress, ofAll)
	}
}

// leaves returns what is still to be released, by the address of the account and by all, when
// the holder's share is.
func (h holder) leaves(a *limit.Account, ofAddress, ofAll int64) (int64, int64) {
	if h.c.memory.SameAddress(a) {
		ofAddress -= h.held
	}
	return ofAddress, ofAll - h.held
}

// holder is a connection and what it holds.
type holder struct {
	c    *conn
	held int64
	last bool // it is chosen when no other is left
}

// Connections that hold no more than smallBytes, because of a message that began to arrive less
// than smallTime ago, are ended last: any client holds as much for a moment.
const (
	smallBytes = 64 << 10
	smallTime  = time.Second
)

// holders returns the connections that hold more than a little, those with most first.
func (s *Server) holders() []holder {
	const little = 4 << 10
	now := time.Now().UnixNano()
	s.mu.RLock()
	conns := slices.Collect(maps.Values(s.conns))
	s.mu.RUnlock()
	var out []holder
	for _, c := range conns {
		if held := c.memory.Held(); held > little {
			began := c.reading.Load()
			out = append(out, holder{c, held, held <= smallBytes && began != 0 && now-began < int64(smallTime)})
		}
	}
	slices.SortFunc(out, func(a, b holder) int {
		if a.last != b.last {
			if a.last {
				return 1
			}
			return -1
		}
		return cmp.Compare(b.held, a.held)
	})
	return out
}

// evict ends the connection and forgets what waits on both sides.
func (c *conn) evict(reason string) {
	c.evicted.Store(true)
	c.end(reason, abort)
	if s := c.socket(); s != nil {
		s.calls.discard()
	}
}
