package sio

import (
	"cmp"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/codewar/socketbridge/gateway/limit"
)

// The memory held for a client counts in its account (limit.Account): what it presents until it
// has joined, messages while they arrive, events that wait for the Handler, and what waits to be
// written. Config.MaxConnections and Config.MaxPerAddress bound the number of accounts.

// errMemory means that a bound of Config.Memory was exceeded. The connection has been ended.
var errMemory = errors.New("too much memory")

// memoryReasons are the reasons for the end of a connection, by the limit that was exceeded.
var memoryReasons = map[string]string{
	limit.MemoryPerConnection: ReasonMemory,
	limit.MemoryPerAddress:    ReasonAddressMemory,
	limit.MemoryTotal:         ReasonTotalMemory,
}

// openAccount makes the account of a connection whose handshake holds n bytes. When it returns
// nil, it has answered the client.
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

// take counts n bytes for the client, before they are allocated. When they exceed a bound it ends
// the connection and reports false.
func (c *conn) take(n int) bool {
	reached := c.srv.relieve(c.memory, c.memory.Add(n))
	if reached == "" {
		return true
	}
	c.memory.Release(n)
	c.end(memoryReasons[reached], abort)
	return false
}

// relieve releases memory when the level of an account shows that a shared bound is nearly
// reached: it flushes, and then ends connections. It returns the limit that is still exceeded,
// or "". It does not wait for a client. The caller must hold no lock of this package except
// conn.inbound.
func (s *Server) relieve(a *limit.Account, l limit.Level) (reached string) {
	if l.Crowded {
		s.Flush()
		s.evictor.evict(s, a)
		l = a.Level()
	}
	return l.Exceeded
}

// evictor ends the connections that hold most, so that all others are served while some clients
// fill the memory.
type evictor struct {
	mu   sync.Mutex // held while connections are chosen
	idle time.Time  // when it last found nothing to evict
}

// evictionPause is the pause after an eviction that found nothing, because to look at each
// connection costs time.
const evictionPause = time.Millisecond

// evict ends connections until the account is well below the shared bounds. It does nothing
// while another eviction is in progress.
func (e *evictor) evict(s *Server, a *limit.Account) {
	if !e.mu.TryLock() {
		return
	}
	defer e.mu.Unlock()
	if time.Since(e.idle) < evictionPause {
		return
	}
	ofAddress, ofAll := a.Room()
	evicted := false
	for _, h := range s.holders() {
		same := h.c.memory.SameAddress(a)
		switch {
		case h.rank == ending:
		case ofAll > 0:
			h.c.evict(ReasonTotalMemory)
			evicted = true
		case ofAddress > 0 && same:
			h.c.evict(ReasonAddressMemory)
			evicted = true
		default:
			continue
		}
		if ofAll -= h.held; same {
			ofAddress -= h.held
		}
	}
	if !evicted {
		e.idle = time.Now()
	}
}

// holder is a connection and what it holds.
type holder struct {
	c    *conn
	held int64
	rank int
}

// Ranks of holders, in the order in which they are evicted.
const (
	ending = iota // evicted already
	ordinary
	brief // of a small message that is arriving: each client holds as much for a moment
)

// A message is small up to smallBytes, and arrives within smallTime.
const (
	smallBytes = 64 << 10
	smallTime  = time.Second
)

// holders returns the connections that hold more than a little, by rank, those with most first.
func (s *Server) holders() []holder {
	const little = 4 << 10
	now := time.Now().UnixNano()
	var out []holder
	for _, c := range s.allConns() {
		held, rank := c.memory.Held(), ordinary
		if held <= little {
			continue
		}
		if began := c.reading.Load(); c.evicted.Load() {
			rank = ending
		} else if held <= smallBytes && began != 0 && now-began < int64(smallTime) {
			rank = brief
		}
		out = append(out, holder{c, held, rank})
	}
	slices.SortFunc(out, func(a, b holder) int { return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(b.held, a.held)) })
	return out
}

// evict ends the connection and discards what waits in both directions.
func (c *conn) evict(reason string) {
	c.evicted.Store(true)
	c.end(reason, abort)
	if s := c.socket(); s != nil {
		s.queue.discard()
	}
}
