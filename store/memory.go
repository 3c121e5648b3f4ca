package store

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// Memory is the store of a bridge that is one process: nothing outlives it. It
// keeps what [Redis] keeps, for as long, and gives the same answers, so tests
// can also run several nodes on one Memory. Safe for concurrent use.
//
// One lock is enough: every operation is a few map accesses, and the one process
// that uses it has one reader of the stream.
type Memory struct {
	limits  Limits
	metrics *opMetrics // nil without Measure

	mu        sync.Mutex // guards everything below, the users included
	users     map[bridge.UserID]*memoryUser
	mostUsers int // mostMemoryUsers; a test has fewer
	sessions  map[string]memorySession
	nodes     map[bridge.NodeID]*memoryLease
	joins     uint64 // the newest join number
	canaries  map[bridge.NodeID]uint64
	serving   map[bridge.NodeID]time.Time // until when
}

// memoryLease is one stay of a node among the living.
type memoryLease struct {
	join uint64
	ends time.Time
}

// NewMemory makes an empty store.
func NewMemory(limits Limits) *Memory {
	limits = limits.withDefaults()
	return &Memory{
		limits:    limits,
		mostUsers: mostMemoryUsers,
		users:     make(map[bridge.UserID]*memoryUser),
		sessions:  make(map[string]memorySession),
		nodes:     make(map[bridge.NodeID]*memoryLease),
		canaries:  make(map[bridge.NodeID]uint64),
		serving:   make(map[bridge.NodeID]time.Time),
	}
}

// Node is the store as one node has it. Calling it again with the same id makes
// what a restarted process would be: another holder of the leases.
func (m *Memory) Node(id bridge.NodeID) *MemoryNode { return &MemoryNode{memory: m, id: id} }

// MemoryNode is one node's share of a [Memory].
type MemoryNode struct {
	memory   *Memory
	id       bridge.NodeID
	join     uint64    // of the node's present stay, 0 for none; guarded by memory.mu
	wentBack time.Time // when the memory was last found to have gone back; guarded by memory.mu
	canary   uint64    // what the node left in memory.canaries; guarded by memory.mu
}

var _ bridge.Store = (*MemoryNode)(nil)

// do runs one operation under the lock and has it observed.
func (n *MemoryNode) do(ctx context.Context, op string, f func(m *Memory, now time.Time) error) error {
	start := time.Now()
	err := context.Cause(ctx)
	if err == nil {
		n.memory.mu.Lock()
		now := time.Now() // under the lock, so that later is never earlier
		n.memory.sweep(now)
		err = f(n.memory, now)
		n.memory.mu.Unlock()
	}
	n.memory.metrics.observe(op, time.Since(start), err)
	return err
}

// sweep drops what has lapsed among a few users and sessions. Go's maps start
// each iteration somewhere else, so all get their turn; since every operation
// sweeps more than it can add, what is lapsed stays a small part.
func (m *Memory) sweep(now time.Time) {
	const few = 3
	looked := 0
	for id, u := range m.users {
		u.expire(now)
		m.prune(u, now)
		if u.empty() {
			delete(m.users, id)
		}
		if looked++; looked == few {
			break
		}
	}
	looked = 0
	for pid, s := range m.sessions {
		if !now.Before(s.ends) {
			m.dropSession(pid)
		}
		if looked++; looked == few {
			break
		}
	}
}

// lives reports whether this stay of the node goes on.
func (m *Memory) lives(node bridge.NodeID, join uint64, now time.Time) bool {
	lease := m.nodes[node]
	return lease != nil && lease.join == join && now.Before(lease.ends)
}

// prune forgets the sockets of dead nodes: their registrations never count again.
func (m *Memory) prune(u *memoryUser, now time.Time) {
	u.sockets = slices.DeleteFunc(u.sockets, func(s memorySocket) bool { return !m.lives(s.Node, s.join, now) })
}

// sockets returns the user's sockets on live nodes, oldest first.
func (m *Memory) sockets(u *memoryUser, now time.Time) []bridge.Presence {
	m.prune(u, now)
	var found []bridge.Presence
	for _, s := range u.sockets {
		found = append(found, s.Presence)
	}
	return found
}

// Ping reports that memory answers.
func (n *MemoryNode) Ping(ctx context.Context) error { return context.Cause(ctx) }

// Close does nothing; the garbage collector frees the Memory.
func (n *MemoryNode) Close() error { return nil }
