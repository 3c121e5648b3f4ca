package hub

import (
	"context"
	"hash/maphash"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/sio"
)

// Store is the part of the store that the hub needs.
type Store interface {
	bridge.Registry
	bridge.Sessions
}

// Hub holds the sockets of this node, by user. It guarantees that a socket is given each message
// of its user once, in the order of offsets, and without a gap that it is not told of. The
// sockets of other nodes are in the store; missed messages are read from the history.
// Safe for concurrent use.
type Hub struct {
	store   Store
	history bridge.History
	cfg     Config
	log     *slog.Logger

	seed    maphash.Seed
	shards  [64]shard
	sockets atomic.Int64 // mapped sockets
	binding atomic.Int64 // sockets that wait for their registration and for their first batch
	users   atomic.Int64 // users with a mapped socket
	metrics hubMetrics

	cursors      pendingCursors
	server       atomic.Pointer[sio.Server] // of these sockets; nil until [Handler.ServedBy]
	removals     unregistrations
	unregistered unregistered
	left         leftSessions
	draining     sync.WaitGroup // goroutines that wait for a client to read: see [Hub.resumeWhenDrained]
	notifying    sync.WaitGroup // see notifyReplaced
	resyncs      chan struct{}  // capacity 1: replays are requested
}

// Config configures a [Hub].
type Config struct {
	LatestOnly bool             // only a user's newest socket is pushed to
	MaxPending int              // bytes that one connection may have queued
	MaxPerUser int              // sockets of one user in the cluster; 0: no limit
	MaxBinding int              // see [Hub.Overloaded]; 0: no limit
	SessionTTL time.Duration    // how long the store keeps a session, see [SessionTTL]
	RenewEvery time.Duration    // within which each registration is renewed; 0: 30 s
	MaxLeft    int              // sessions that are kept of clients that have left this node; 0: no limit
	Stream     Stream           // nil: no offset is beyond its end
	Peers      Peers            // nil: there is no other node
	Begin      bridge.BeginSpan // begins spans of traced pushes; nil: none is traced
	// Unregistered tells the leader whether this node has sockets that the store does not know
	// of: the node is then sent every message. Nil: such sockets wait.
	Unregistered func(bool)
	// Metrics exposes the counters of the hub and its handler. Nil: no metrics are exposed.
	Metrics prometheus.Registerer
}

// Stream is what the hub must know of the stream of messages.
type Stream interface {
	// Reaches reports whether o belongs to the stream, the stream has come as far as o, and it
	// keeps every message after o. A negative answer is not older than the call. An error says
	// that the stream cannot be asked now.
	Reaches(ctx context.Context, o bridge.Offset) (bool, error)
}

// Peers are the other nodes.
type Peers interface {
	// Replaced tells a node that one of its sockets has been replaced by one of this node: see
	// [Hub.CloseReplaced]. It reports whether the node has heard, or is gone.
	Replaced(ctx context.Context, r bridge.Replaced) bool
}

// shard is a part of the users. Slices are replaced, never changed in place, so that a reader
// may use one after releasing the lock.
type shard struct {
	mu    sync.RWMutex
	users map[bridge.UserID][]*socket // oldest first
	dirty dirtySockets
}

// New makes an empty hub. [Hub.Run] does its work in the background.
func New(store Store, history bridge.History, cfg Config, log *slog.Logger) *Hub {
	h := &Hub{store: store, history: history, cfg: cfg, log: log.With("component", "hub"), seed: maphash.MakeSeed(), resyncs: make(chan struct{}, 1)}
	h.metrics = newHubMetrics(cfg.Metrics, h)
	h.unregistered.tell = cfg.Unregistered
	h.left.most, h.left.ttl = cfg.MaxLeft, cfg.SessionTTL
	for i := range h.shards {
		h.shards[i].users = make(map[bridge.UserID][]*socket)
	}
	return h
}

func (h *Hub) shard(user bridge.UserID) *shard {
	return &h.shards[maphash.String(h.seed, string(user))%uint64(len(h.shards))]
}

// of returns the user's sockets, oldest first. The slice must not be changed.
func (h *Hub) of(user bridge.UserID) []*socket {
	sh := h.shard(user)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return sh.users[user]
}

// Has reports whether the user has a mapped socket on this node. It does not allocate.
func (h *Hub) Has(user bridge.UserID) bool { return len(h.of(user)) > 0 }

// Sockets is how many sockets of this node are mapped to a user.
func (h *Hub) Sockets() int { return int(h.sockets.Load()) }

// Overloaded reports whether too many sockets wait for their registration or their first batch
// to accept more: the store or the leader is away or too slow.
func (h *Hub) Overloaded() bool {
	return h.cfg.MaxBinding > 0 && h.binding.Load() >= int64(h.cfg.MaxBinding)
}

// Begin begins spans of pushes; nil when pushes are not traced.
func (h *Hub) Begin() bridge.BeginSpan { return h.cfg.Begin }

// Users is how many users have a socket on this node.
func (h *Hub) Users() int { return int(h.users.Load()) }

func (h *Hub) add(user bridge.UserID, s *socket) {
	sh := h.shard(user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	have := sh.users[user]
	sh.users[user] = append(have[:len(have):len(have)], s)
	if s.loopback {
		return
	}
	if len(have) == 0 {
		h.users.Add(1)
	}
	h.sockets.Add(1)
}

func (h *Hub) remove(user bridge.UserID, s *socket) {
	sh := h.shard(user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	have := sh.users[user]
	i := slices.Index(have, s)
	if i < 0 {
		return
	}
	if len(have) == 1 {
		delete(sh.users, user)
	} else {
		sh.users[user] = slices.Concat(have[:i], have[i+1:])
	}
	if s.loopback {
		return
	}
	h.sockets.Add(-1)
	if len(have) == 1 {
		h.users.Add(-1)
	}
}

// all returns every mapped socket of the node.
func (h *Hub) all() []*socket {
	out := make([]*socket, 0, h.Sockets())
	for i := range h.shards {
		out = h.shards[i].all(out)
	}
	return out
}

// all appends the shard's mapped sockets to out.
func (sh *shard) all(out []*socket) []*socket {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	for _, sockets := range sh.users {
		out = append(out, sockets...)
	}
	return out
}

// targets returns the user's sockets that are to be pushed to.
func (h *Hub) targets(user bridge.UserID) []*socket {
	sockets := h.of(user)
	if h.cfg.LatestOnly && len(sockets) > 1 {
		return sockets[len(sockets)-1:]
	}
	return sockets
}

// locate looks one user up in the store.
func (h *Hub) locate(ctx context.Context, user bridge.UserID) ([]bridge.Presence, error) {
	found := h.store.Locate(ctx, []bridge.UserID{user})[0]
	return found.Sockets, found.Err
}
