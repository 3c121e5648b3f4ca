package gateway

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/sio"
)

// pageSize is how many messages of a history are read at once: a few round trips
// for the longest history, and a bounded piece of memory for each.
const pageSize = 200

// errTooMany refuses a socket of a user who has as many as one may have.
var errTooMany = errors.New("user has too many sockets")

// errMoved ends a replay whose socket has closed or moved to another user.
var errMoved = errors.New("socket is no longer this user's")

// hubStore is the part of the store that the hub needs.
type hubStore interface {
	bridge.Registry
	bridge.Sessions
}

// Hub holds the sockets of this node, by user. Other nodes' sockets are the
// store's business, and what a socket has missed is the history's. It keeps three promises: a socket is given each message of
// its user once, in the order of offsets, and without a gap that it is not told of.
// Safe for concurrent use.
type Hub struct {
	store   hubStore
	history bridge.History
	cfg     HubConfig
	log     *slog.Logger

	seed    maphash.Seed
	shards  [64]shard
	sockets atomic.Int64 // mapped sockets
	binding atomic.Int64 // sockets that wait to be registered and for the beginning of their history
	users   atomic.Int64 // users with a mapped socket
	took    atomic.Uint64
	seen    atomic.Uint64
	latency bridge.Histogram
	gaps    atomic.Uint64 // sockets that were told of a gap
	rejoins atomic.Uint64 // times that every socket was registered again
	renewed atomic.Uint64 // registrations that were found to be lost

	cursors pendingCursors
	server  atomic.Pointer[sio.Server] // whose sockets these are; nil until it is made
	gone    unregistrations

	unregistered unregistered

	left    leftSessions
	behind  sync.WaitGroup // those that wait for a page to read: see [Hub.resume]
	telling sync.WaitGroup // see tellReplaced
	resyncs chan struct{}  // capacity 1: a resync is wanted
}

// HubConfig is what the hub wants to know of the configuration.
type HubConfig struct {
	LatestOnly bool             // only a user's newest socket is pushed to
	MaxPending int              // bytes that one connection may have queued
	MaxPerUser int              // sockets of one user in the cluster; 0: no limit
	MaxBinding int              // see [Hub.Overloaded]; 0: no limit
	SessionTTL time.Duration    // how long the store keeps a session, see [SessionTTL]
	RenewEvery time.Duration    // within which each registration is made sure of; 0: 30 s
	MaxLeft    int              // sessions that are kept of pages that have left this node; 0: no limit
	Stream     Stream           // nil: no offset is beyond its end
	Peers      Peers            // nil: there is no other node
	Begin      bridge.BeginSpan // of pushes that are followed; nil: none is
	// Unregistered tells the leader whether this node has sockets that the store does not know of:
	// it is then sent everything. Nil: such sockets wait.
	Unregistered func(bool)
}

// Stream is what the hub must know of the stream of messages.
type Stream interface {
	// Reaches reports whether the stream is the one that o belongs to, has come as far
	// as o, and keeps every message after it. What it goes by is not older than the call
	// when the answer is no. An error says that the stream cannot be asked now.
	Reaches(ctx context.Context, o bridge.Offset) (bool, error)
}

// Peers are the other nodes.
type Peers interface {
	// Replaced tells the node that one of its sockets has been replaced by one of
	// another node: see [Hub.CloseReplaced]. It reports whether the node has heard, or is gone.
	Replaced(ctx context.Context, r bridge.Replaced) bool
}

// shard is a part of the users. Slices are replaced, never changed in place, so
// a reader may use one after releasing the lock.
type shard struct {
	mu    sync.RWMutex
	users map[bridge.UserID][]*socket // oldest first
	moved moved
}

// NewHub makes an empty hub. [Hub.Run] does its work in the background.
func NewHub(store hubStore, history bridge.History, cfg HubConfig, log *slog.Logger) *Hub {
	h := &Hub{store: store, history: history, cfg: cfg, log: log.With("component", "hub"), seed: maphash.MakeSeed(), resyncs: make(chan struct{}, 1)}
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

// Overloaded reports whether so many sockets wait to be registered that new ones
// had better come later: the store or the leader is away, or slower than they come.
func (h *Hub) Overloaded() bool {
	return h.cfg.MaxBinding > 0 && h.binding.Load() >= int64(h.cfg.MaxBinding)
}

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

// Push gives one envelope to the user's sockets here, for the next [Hub.Flush] to
// write. It never waits: a socket that cannot take it is closed by its connection
// and resumes by offset.
func (h *Hub) Push(e *bridge.Envelope) bridge.Count {
	if e.Parent != "" && h.cfg.Begin != nil {
		return h.pushFollowed(e)
	}
	return h.push(e)
}

func (h *Hub) push(e *bridge.Envelope) (c bridge.Count) {
	p := packetsOf(e)
	defer p.release()
	for _, s := range h.targets(e.User) {
		h.check(s, e)
		c = c.Add(s.push(p))
	}
	h.pushed(e, c)
	return c
}

// Flush writes what was pushed: many messages for one socket in one system call. It
// does not wait for a page that reads slowly.
func (h *Hub) Flush() {
	h.cursors.tell()
	if s := h.server.Load(); s != nil {
		s.Flush()
	}
}

// turn calls do, which must not wait, when it is its turn among what connects cost. When ctx
// ends before, nobody is left to do it for.
func (h *Hub) turn(ctx context.Context, do func()) {
	if s := h.server.Load(); s != nil {
		s.WithConnectSlot(ctx, do)
	}
}

// PushAcked pushes an envelope whose pages are to confirm it, and calls done once:
// when every page that was given it has confirmed, has left, or has had
// Envelope.Ack to do so.
func (h *Hub) PushAcked(e *bridge.Envelope, done func(bridge.Count)) {
	if e.Parent != "" && h.cfg.Begin != nil {
		h.pushAckedFollowed(e, done)
		return
	}
	h.pushAcked(e, done)
}

func (h *Hub) pushAcked(e *bridge.Envelope, done func(bridge.Count)) {
	var (
		mu      sync.Mutex // guards c and waiting
		c       bridge.Count
		waiting = 1 // this function itself
		pushed  bridge.Count
	)
	settle := func(more bridge.Count) {
		mu.Lock()
		c = c.Add(more)
		waiting--
		last := waiting == 0
		mu.Unlock()
		if last {
			done(c)
		}
	}
	for _, s := range h.targets(e.User) {
		mu.Lock()
		waiting++
		mu.Unlock()
		h.check(s, e)
		given, waits := s.pushAcked(e, func(confirmed bool) {
			var ack bridge.Count
			if confirmed {
				ack.Acked = 1
			}
			settle(ack)
		})
		pushed = pushed.Add(given)
		mu.Lock()
		c = c.Add(given)
		mu.Unlock()
		if !waits {
			settle(bridge.Count{})
		}
	}
	h.Flush() // the event and the cursor behind it: see [socket.pushAcked]
	h.pushed(e, pushed)
	settle(bridge.Count{})
}

// check has the socket brought up to date when the message shows that it missed one.
// Where only the newest socket gets messages, the others miss some by design.
func (h *Hub) check(s *socket, e *bridge.Envelope) {
	if !h.cfg.LatestOnly && s.missed(e) {
		h.wantReplays()
	}
}

// pushed counts what was done with an envelope. It is the one place where a
// message's way ends: with it in the queue of a socket.
func (h *Hub) pushed(e *bridge.Envelope, c bridge.Count) {
	h.took.Add(uint64(c.Took))
	h.seen.Add(uint64(c.Seen))
	if c.Took > 0 && !e.Stored.IsZero() {
		h.latency.Observe(time.Since(e.Stored))
	}
}

// Latency is the time from the stream having taken a message to its being handed
// to the user's sockets here, once for each message and node; replays do not count.
// It spans the clocks of two machines.
func (h *Hub) Latency() bridge.Times { return h.latency.Times() }

// Pushes counts what [Hub.Push] has done since the start.
type Pushes struct {
	Took uint64 // messages given to a socket, or left to the replay it was in
	Seen uint64 // messages that a socket had already
}

// Pushes returns the counts.
func (h *Hub) Pushes() Pushes { return Pushes{h.took.Load(), h.seen.Load()} }

// bind maps a socket to a user and replays what it has missed: registered in the store
// first, with its session, the history asked after that, as [bridge.History] wants it. When it
// returns without an error, every message that is looked up from then on is pushed. c says what
// the client has already; nil: the socket begins at the user's inbox. While the store is away, or
// no leader can be asked, bind tries again, and away is called once that lasts; it gives up only
// when ctx, the socket's, ends, and with errTooMany.
// What the client is told of its offset goes out with the next Flush.
func (h *Hub) bind(ctx context.Context, s *socket, user bridge.UserID, c *claim, away func()) error {
	h.unbind(s)
	if pid := clientSessionID(user, s.chosen); pid != "" && c == nil {
		h.left.back(pid)
		err := h.untilDone(ctx, away, func() (err error) {
			c, err = h.continued(ctx, pid, user)
			return err
		})
		if err != nil {
			return err
		}
	}
	local := h.delivered(user)
	s.bind(user, &h.shard(user).moved, &h.cursors)
	h.add(user, s) // before the store knows, so that nothing it routes here is dropped
	r := s.registration()
	h.left.back(s.conn.PID())
	r.PID = s.conn.PID() // a node that is killed cannot save the session at its end
	q := bridge.HistoryQuery{User: user, Limit: pageSize, Inbox: c == nil || c.unknown}
	if !q.Inbox {
		q.After = c.after
	}
	page, err := h.begin(ctx, s, r, &q, away)
	if errors.Is(err, errTooMany) {
		h.unbind(s)
		h.dropSession(user, s.conn.PID())
	}
	if err != nil {
		return err
	}
	if q.Inbox {
		s.startAt(q.After, reach(q.After, local)) // the store learns of it a moment later than the hub
	} else {
		s.startAt(received(q.After, &page), q.After)
	}
	h.saveProgressOf(s)
	if c != nil && q.Inbox {
		h.tellGap(s, c.after)
	}
	wait := func(room int) error { return s.conn.WaitDrained(ctx, room) }
	return h.untilDone(ctx, away, func() error { return h.replay(ctx, s, user, r.Token, pageSize, &page, wait) })
}

// begin registers the socket and reads the first page after what the client claims, or at the
// inbox. A claim that the stream has never come as far as is no claim: the socket then begins
// at the inbox, and q says so. Nearly always the page tells that the stream has; a leader
// that is behind the one before it does not, and only the stream itself knows.
func (h *Hub) begin(ctx context.Context, s *socket, r bridge.Registration, q *bridge.HistoryQuery, away func()) (page bridge.Replay, err error) {
	h.binding.Add(1)
	defer h.binding.Add(-1)
	found, err := h.register(ctx, s, r, away)
	if err != nil {
		return page, err
	}
	if q.Inbox {
		q.After = found.Delivered
	}
	for {
		reached := true
		err = h.untilDone(ctx, away, func() (err error) {
			page, err = h.history.Read(ctx, *q)
			if err == nil && h.cfg.Stream != nil && q.After.After(page.Horizon) {
				reached, err = h.cfg.Stream.Reaches(ctx, q.After)
			}
			return err
		})
		switch {
		case err != nil || reached:
			return page, err
		case !q.Inbox:
			q.Inbox, q.After = true, found.Delivered
		default: // the store is of another stream, and nothing of this one would be after that
			q.After = bridge.Offset{}
		}
	}
}

// received is up to where the user's messages need not have been given to the socket
// although its client claims everything up to after: the last message that the claim covers, or
// an offset with none between. Claims are not evidence, so [bridge.Delivered] ranges of
// the socket begin there.
func received(after bridge.Offset, page *bridge.Replay) bridge.Offset {
	if after.After(page.Last) || page.Before.After(after) {
		return after // the leader may not have all of them yet, or no longer
	}
	return page.Before
}

// reach follows a delivered offset through what sockets were given.
func reach(taken bridge.Offset, given []bridge.Delivered) bridge.Offset {
	for _, d := range given {
		if !d.From.After(taken) {
			taken = taken.Max(d.To)
		}
	}
	return taken
}

// register records the socket in the store, unless the user has too many. The
// oldest stay: however many come at once, on any nodes, as many as allowed are left. While
// the store is away the socket goes on without, and is registered later; nothing is found then.
func (h *Hub) register(ctx context.Context, s *socket, r bridge.Registration, away func()) (found bridge.Registered, err error) {
	err = h.untilDone(ctx, away, func() (err error) {
		found, err = h.store.Register(ctx, r)
		if err != nil && ctx.Err() == nil && h.goesWithout(s, err) {
			found, err = bridge.Registered{}, nil
			return nil
		}
		if err == nil && found.Replaced.Node != "" && h.cfg.Peers != nil {
			h.tellReplaced(found.Replaced)
		}
		if err != nil || h.cfg.MaxPerUser <= 0 || found.Sockets <= h.cfg.MaxPerUser {
			return err
		}
		sockets, err := locate(ctx, h.store, r.User)
		if err != nil {
			return err
		}
		own := func(p bridge.Presence) bool { return p.Socket == r.Socket }
		if slices.IndexFunc(sockets, own) >= h.cfg.MaxPerUser {
			return errTooMany
		}
		return nil
	})
	return found, err
}

// locator looks users up: see [bridge.Registry].
type locator interface {
	Locate(ctx context.Context, users []bridge.UserID) []bridge.Located
}

// locate looks one user up.
func locate(ctx context.Context, in locator, user bridge.UserID) ([]bridge.Presence, error) {
	found := in.Locate(ctx, []bridge.UserID{user})[0]
	return found.Sockets, found.Err
}

// toldAfter is for how long op of [Hub.untilDone] fails before the client is told: a change of the
// leader or of a Redis master is over by then, and clients do not notice it.
const toldAfter = 3 * time.Second

// untilDone repeats op, whose errors come from the store, the history or the stream, until it
// succeeds, the socket is gone or refused, or ctx ends. It calls away once when that takes longer
// than toldAfter.
func (h *Hub) untilDone(ctx context.Context, away func(), op func() error) error {
	begun := time.Now()
	wait := bridge.Backoff{First: 50 * time.Millisecond, Most: time.Second}
	for {
		err := op()
		if err == nil || errors.Is(err, errMoved) || errors.Is(err, errTooMany) {
			return err
		}
		if away != nil && time.Since(begun) >= toldAfter {
			away()
			away = nil
		}
		select {
		case <-time.After(wait.Next()):
		case <-ctx.Done():
			return errMoved
		}
	}
}

// delivered is what the user's sockets on this node were given.
func (h *Hub) delivered(user bridge.UserID) (given []bridge.Delivered) {
	for _, s := range h.of(user) {
		if d, ok := s.deliveredTo(user); ok {
			given = append(given, d)
		}
	}
	return given
}

// unbind ends the socket's mapping, if it has one. The store may be away: the
// removal is then tried again until it is done.
func (h *Hub) unbind(s *socket) {
	h.saveProgressOf(s)
	r, given := s.unbind()
	if r.User == "" {
		return
	}
	h.remove(r.User, s)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := h.store.Unregister(ctx, r, given); err != nil {
		h.gone.add(unregistration{r, given})
	}
}

// replay gives the socket the page and what follows it, in pages of size messages, until it has
// caught up with what is pushed live, or is no longer mapped as by token. Before each message wait
// sees that fewer than so many bytes are queued, or ends the replay. An error of the history leaves
// page where to go on.
func (h *Hub) replay(ctx context.Context, s *socket, user bridge.UserID, token string, size int, page *bridge.Replay, wait func(room int) error) error {
	for {
		if s.gap(page) {
			h.tellGap(s, page.From)
		}
		for _, e := range page.Entries {
			if err := wait(h.room(e)); errors.Is(err, errBehind) {
				return err
			} else if err != nil || s.give(e, token) != nil {
				return errMoved
			}
		}
		more := page.More
		if !more {
			s.caughtUp(token, page)
		}
		*page = bridge.Replay{More: true}
		if !more && s.endReplay(token) {
			return nil
		}
		after, ok := s.nextPage(token)
		if !ok {
			return errMoved
		}
		next, err := h.history.Read(ctx, bridge.HistoryQuery{User: user, After: after, Limit: size})
		if err != nil {
			return err
		}
		*page = next
	}
}

// room is how few bytes must be queued before a replayed message may follow: a page
// that reads must not be closed as slow because its history is longer than what
// may wait for it.
func (h *Hub) room(e *bridge.Envelope) int {
	const around = 1 << 10 // topic, offset and frame
	return max(min(h.cfg.MaxPending/2, h.cfg.MaxPending-len(e.Payload)-around), 1)
}

// tellGap tells the client that messages after an offset, which it has missed, are no
// longer kept or cannot be told from those that it has, so that it can load its state anew.
func (h *Hub) tellGap(s *socket, after bridge.Offset) {
	h.gaps.Add(1)
	err := s.conn.Emit("error", clientError{
		Type:    "HISTORY_GAP",
		Message: "Messages were missed that are no longer kept; load the current state again",
		Details: map[string]any{"after": after},
	})
	if err != nil {
		h.log.LogAttrs(context.Background(), slog.LevelDebug, "gap not told", slog.String("socket", s.conn.ID()), slog.Any("err", err))
	}
}
