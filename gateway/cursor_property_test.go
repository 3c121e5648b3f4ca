package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/sio"
	"github.com/codewar/socketbridge/store"
	"github.com/codewar/socketbridge/store/redistest"
)

// TestCursorsOfClients interleaves, at random, tabs whose clients keep cursors, or an id of
// their own, with messages on three nodes over one store: users that switch on one socket
// object, forged and foreign offsets, connections that are cut with part of what was
// sent, old connections that nobody has noticed to be gone, confirmations, lost forwards.
//
// Whatever happens: a tab is shown its user's messages in order, each once, and none is
// missing since it was mapped, unless it was told. And every message of a user has
// been sent to one of the user's sockets, or waits for the next one.
func TestCursorsOfClients(t *testing.T) {
	t.Parallel()
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		tabRounds(t, 2400, func(int) func(bridge.NodeID) bridge.Store {
			m := store.NewMemory(store.Limits{})
			return func(id bridge.NodeID) bridge.Store { return m.Node(id) }
		})
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		server := redistest.Server(t)
		tabRounds(t, 600, func(round int) func(bridge.NodeID) bridge.Store {
			return func(id bridge.NodeID) bridge.Store {
				cfg := store.Config{Addrs: []string{server.Addr}, Prefix: fmt.Sprint("tabs", round)}
				s, err := store.OpenRedis(t.Context(), cfg, store.Limits{}, id, slog.New(slog.DiscardHandler))
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
		})
	})
}

func tabRounds(t *testing.T, n int, open func(round int) func(bridge.NodeID) bridge.Store) {
	base := rand.Uint64()
	if testing.Short() {
		n /= 10
	}
	for round := range n {
		seed := base + uint64(round)
		w := newWorld(t, seed, open(round))
		w.play()
		w.check()
		w.close()
		if t.Failed() {
			t.Fatalf("round %d, seed %d, net %d", round, seed, w.net)
		}
	}
}

// Nets that a round does without, so that they do not hide each other.
const (
	allNets       = iota
	noChain       // messages do not name the one before
	noFinalResync // and no forward is lost
	latestOnly    // only the newest socket of a user is pushed to
	nets
)

// world is three nodes, whose first one leads, the stream, and the tabs of three users.
type world struct {
	t     *testing.T
	rnd   *rand.Rand
	net   int
	nodes [3]*worldNode
	users []bridge.UserID
	route *bridge.Router
	stop  context.CancelFunc
	work  sync.WaitGroup
	tabs  []*tab

	mu   sync.Mutex // guards what follows
	end  uint64     // of the stream
	sent map[bridge.UserID]map[uint64]bool
	of   map[bridge.UserID][]uint64 // the messages of each user, routed so far
}

type worldNode struct {
	world *world
	id    bridge.NodeID
	store bridge.Store
	hub   *Hub

	mu    sync.Mutex // guards conns
	conns map[string]*tabConn
}

// Reaches implements [Stream].
func (w *world) Reaches(_ context.Context, o bridge.Offset) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return o.Epoch == 1 && o.Seq <= w.end, nil
}

// Replaced implements [Peers].
func (w *world) Replaced(_ context.Context, r bridge.Replaced) bool {
	for _, n := range w.nodes {
		if n.id == r.Node {
			n.hub.CloseReplaced(r)
		}
	}
	return true
}

// tab is one socket object of a client, which lives through several connections.
type tab struct {
	world  *world
	name   string
	form   cursorForm
	chosen string // for noCursor
	user   bridge.UserID
	pid    string
	cursor string // the last text of an event
	conn   *tabConn

	seg *segment // of what it is shown; nil when it is not mapped
}

// segment is what a tab is shown from a mapping on, as long as it continues from there.
type segment struct {
	user  bridge.UserID
	first int // messages of the user routed when it was mapped: from the next one on none may be missing; -1: mapping
	shown []uint64
	told  bool
}

// tabConn is one connection of a tab. What is sent waits until the tab reads it.
type tabConn struct {
	tab    *tab
	node   *worldNode
	socket *socket
	id     string
	pid    string
	ctx    context.Context
	cancel context.CancelFunc

	mu    sync.Mutex // guards what follows
	queue []tabPacket
	cut   bool // the client is gone
	done  sync.Once
}

func (c *tabConn) ID() string  { return c.id }
func (c *tabConn) PID() string { return c.pid }
func (c *tabConn) Emit(name string, args ...any) error {
	return c.put(eventText(name, args), c.socket.registration().User)
}
func (c *tabConn) EmitWithAck(name string, _ time.Duration, args []any, done sio.AckFunc) error {
	err := c.put(eventText(name, args), c.socket.user)
	if err == nil { // half of the clients confirm; how late does not matter
		if err := errGone; len(c.id)%2 == 0 {
			go done(nil, err)
		} else {
			go done(nil, nil)
		}
	}
	return err
}
func (c *tabConn) WaitDrained(context.Context, int) error { return c.ctx.Err() }
func (c *tabConn) Pending() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue)
}
func (c *tabConn) Close(string)              { c.cancel() }
func (c *tabConn) Queue(p *sio.Packet) error { return c.put(p.String(), c.socket.user) } // called with the socket's lock held
func (c *tabConn) Push(p *sio.Packet) error  { return c.put(p.String(), c.socket.user) }

func eventText(name string, args []any) string {
	text, err := json.Marshal(append([]any{name}, args...))
	if err != nil {
		panic(err)
	}
	return "2" + string(text)
}

// tabPacket is a packet and whose socket it was when the packet was sent.
type tabPacket struct {
	text string
	user bridge.UserID
}

func (c *tabConn) put(text string, user bridge.UserID) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return errGone
	}
	c.queue = append(c.queue, tabPacket{text, user})
	if name, n, _ := readEvent(text); name == "t" {
		c.node.world.wasSent(user, n)
	}
	return nil
}

func (w *world) wasSent(user bridge.UserID, n uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sent[user] == nil {
		w.sent[user] = make(map[uint64]bool)
	}
	w.sent[user][n] = true
}

// readEvent reads `2["name",{"n":1},"cursor"]`.
func readEvent(text string) (name string, n uint64, last string) {
	var args []json.RawMessage
	if json.Unmarshal([]byte(text[1:]), &args) != nil {
		panic(text)
	}
	var payload struct{ N uint64 }
	_ = json.Unmarshal(args[0], &name)
	_ = json.Unmarshal(args[1], &payload)
	_ = json.Unmarshal(args[len(args)-1], &last) // else it is no text
	if len(args) == 1 {
		last = ""
	}
	return name, payload.N, last
}

// read has the tab read up to so many packets; a negative number means all.
func (c *tabConn) read(most int) {
	c.mu.Lock()
	if c.cut {
		c.mu.Unlock()
		return
	}
	if most < 0 || most > len(c.queue) {
		most = len(c.queue)
	}
	packets := slices.Clone(c.queue[:most])
	c.queue = c.queue[most:]
	c.mu.Unlock()
	for _, p := range packets {
		name, n, last := readEvent(p.text)
		if last != "" && c.tab.form != noCursor {
			c.tab.cursor = last
		}
		switch {
		case c.tab.seg == nil || c.tab.seg.user != p.user: // of the user before
		case name == "error" && strings.Contains(p.text, "HISTORY_GAP"):
			// It begins anew, at the inbox or at now. What was on its way to an earlier connection
			// of it may be the gap, so it is owed what is published from the next step on.
			c.tab.seg.told, c.tab.seg.first = true, -1
		case name == "t":
			c.tab.show(n)
		}
	}
}

func (t *tab) show(n uint64) {
	if last := len(t.seg.shown) - 1; last >= 0 && n <= t.seg.shown[last] {
		t.world.t.Errorf("%s of %s is shown %d after %v", t.name, t.seg.user, n, t.seg.shown)
	}
	t.seg.shown = append(t.seg.shown, n)
}

// lose forgets what was shown behind the cursor: it may come again, unless the cursor ends
// each event and all that was sent was read. A client without a cursor begins a new count,
// because what was written to it may have been lost.
func (t *tab) lose(unread int) {
	if t.seg == nil || t.form == cursorArgument && unread == 0 {
		return
	}
	if t.form == noCursor {
		t.seg.shown = nil
		return
	}
	if c, err := bridge.ParseCursor(t.cursor); err == nil && c.Tag == bridge.UserTag(t.seg.user) {
		t.seg.shown = slices.DeleteFunc(t.seg.shown, func(n uint64) bool { return n > c.Offset.Seq })
	}
}

func newWorld(t *testing.T, seed uint64, open func(bridge.NodeID) bridge.Store) *world {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	w := &world{
		t: t, rnd: rand.New(rand.NewPCG(seed, 0)), stop: stop, users: []bridge.UserID{"alice", "bob", "carol"},
		sent: make(map[bridge.UserID]map[uint64]bool), of: make(map[bridge.UserID][]uint64),
	}
	w.net = w.rnd.IntN(nets)
	log := slog.New(slog.DiscardHandler)
	for i := range w.nodes {
		id := bridge.NodeID(fmt.Sprint("n", i))
		n := &worldNode{world: w, id: id, store: open(id), conns: make(map[string]*tabConn)}
		n.hub = NewHub(n.store, HubConfig{MaxPending: 1 << 20, SessionTTL: 1 << 40, Stream: w, Peers: w, LatestOnly: w.net == latestOnly}, log)
		if _, err := n.store.Beat(ctx); err != nil {
			t.Fatal(err)
		}
		w.nodes[i] = n
		w.work.Go(func() { n.hub.Run(ctx) })
	}
	w.route = bridge.NewRouter(w.nodes[0].id, w.nodes[0].store, w.routes(seed), log)
	return w
}

func (w *world) routes(seed uint64) bridge.Routes {
	luck := rand.New(rand.NewPCG(seed, 1)) // of the links; used by the router's goroutine only
	lost := make(map[bridge.NodeID]bool)
	strip := func(e *bridge.Envelope) *bridge.Envelope {
		if w.net == noChain {
			e.Before = bridge.Offset{}
		}
		return e
	}
	leader := w.nodes[0].hub
	return bridge.Routes{
		LatestOnly: w.net == latestOnly,
		AckTimeout: time.Second,
		Push:       func(e *bridge.Envelope) bridge.Count { return leader.Push(strip(e)) },
		PushAcked:  func(e *bridge.Envelope, done func(bridge.Count)) { leader.PushAcked(strip(e), done) },
		Flush:      leader.Flush,
		Forward: func(_ uint64, id bridge.NodeID, batch []*bridge.Envelope, done func([]bridge.Count, error)) {
			n := w.nodes[id[1]-'0']
			if w.net != noFinalResync && luck.IntN(4) == 0 {
				lost[id] = true
				done(nil, errors.New("lost"))
				return
			}
			if lost[id] {
				lost[id] = false
				n.hub.Resync() // as the link server does at a gap, before what comes next
			}
			counts := make([]bridge.Count, len(batch))
			var acked sync.WaitGroup
			for i, e := range batch {
				if e.Ack > 0 {
					acked.Add(1)
					n.hub.PushAcked(strip(e), func(c bridge.Count) { counts[i] = c; acked.Done() })
					continue
				}
				counts[i] = n.hub.Push(strip(e))
			}
			n.hub.Flush()
			acked.Wait()
			done(counts, nil)
		},
		Beat:       func(uint64, []bridge.NodeID) {},
		DeadLetter: func(context.Context, *bridge.Message, *bridge.InvalidError) error { return errGone },
		Receipt:    func(string, bridge.Receipt) {},
	}
}

// play runs publisher and tabs side by side, in some steps.
func (w *world) play() {
	const term = 1
	if err := w.nodes[0].store.Claim(context.Background(), term); err != nil {
		w.t.Fatal(err)
	}
	w.route.Begin(term)
	for range 6 {
		batch := w.batch()
		var step sync.WaitGroup
		for _, act := range w.actions() {
			step.Go(act)
		}
		if len(batch) > 0 {
			if err := w.route.Route(context.Background(), term, batch); err != nil {
				w.t.Error(err)
			}
		}
		step.Wait()
		for _, m := range batch {
			for _, u := range w.users {
				if strings.Contains(string(m.Body), string(u)) {
					w.of[u] = append(w.of[u], m.Offset.Seq)
				}
			}
		}
		for _, t := range w.tabs {
			if t.seg != nil && t.seg.first < 0 {
				t.seg.first = len(w.of[t.seg.user])
			}
		}
	}
	w.route.End(term)
}

// batch is what is published in one step. The stream has it before anybody reads it.
func (w *world) batch() (batch []bridge.Message) {
	for range w.rnd.IntN(5) {
		w.mu.Lock()
		w.end++
		seq := w.end
		w.mu.Unlock()
		user := w.users[w.rnd.IntN(len(w.users))]
		m := bridge.Message{Offset: bridge.Offset{Epoch: 1, Seq: seq}, Topic: "t", Body: fmt.Appendf(nil, `{"userId":%q,"n":%d}`, user, seq)}
		if w.rnd.IntN(4) == 0 {
			m.Header = map[string][]string{bridge.HeaderAck: {bridge.AckClient}}
		}
		batch = append(batch, m)
	}
	return batch
}

// actions are what tabs do in one step, at most one each; the plan is drawn here, on one
// goroutine, so that a seed repeats it.
func (w *world) actions() (acts []func()) {
	for _, t := range w.tabs {
		node := w.nodes[w.rnd.IntN(len(w.nodes))]
		some := w.rnd.IntN(6)
		user := w.users[w.rnd.IntN(len(w.users))]
		forged := w.forged(t)
		switch what := w.rnd.IntN(8); {
		case t.conn == nil && what < 4:
			acts = append(acts, func() { t.connect(node, t.pid, t.cursor) })
		case t.conn == nil && what == 4: // another user logs in
			acts = append(acts, func() { t.login(user); t.connect(node, t.pid, t.cursor) })
		case t.conn == nil && what == 5:
			acts = append(acts, func() { t.cursor = forged; t.seg = nil; t.connect(node, t.pid, forged) })
		case t.conn == nil:
		case what < 3:
			acts = append(acts, func() { t.conn.read(some) })
		case what == 3: // the network fails, which the node notices at once or much later
			acts = append(acts, func() { t.conn.read(some); t.leave(some%2 == 0) })
		case what == 4: // another user logs in, on the same connection
			acts = append(acts, func() { t.conn.read(-1); t.login(user); t.set(nil) })
		case what == 5:
			acts = append(acts, func() {
				t.conn.read(-1)
				t.login(user)
				c, err := bridge.ParseCursor(forged)
				if err == nil {
					t.set(explicitClaim(&c, t.user))
				} else {
					t.set(nil)
				}
			})
		}
	}
	if len(w.tabs) < 5 {
		t := &tab{world: w, name: fmt.Sprint("tab", len(w.tabs)), user: w.users[w.rnd.IntN(len(w.users))], form: cursorForm(w.rnd.IntN(3))}
		if t.form == noCursor {
			t.chosen = t.name
		}
		node := w.nodes[w.rnd.IntN(len(w.nodes))]
		w.tabs = append(w.tabs, t)
		acts = append(acts, func() { t.connect(node, "", "") })
	}
	return acts
}

// forged is a text that the tab was never given.
func (w *world) forged(t *tab) string {
	at := bridge.Offset{Epoch: 1, Seq: w.end}
	switch w.rnd.IntN(5) {
	case 0:
		at.Seq += 1 + w.rnd.Uint64N(1000)
	case 1:
		at.Epoch = 2
	case 2:
		at = bridge.Offset{Epoch: 1<<64 - 1, Seq: 1<<64 - 1}
	}
	switch w.rnd.IntN(4) {
	case 0:
		return at.String()
	case 1:
		return bridge.Cursor{Offset: at, Tag: bridge.UserTag("mallory")}.String()
	case 2:
		return "nonsense"
	}
	return bridge.Cursor{Offset: at, Tag: bridge.UserTag(t.user)}.String()
}

func (t *tab) login(user bridge.UserID) {
	if t.user != user {
		t.user, t.seg = user, nil
	}
}

// connect is what the client's library and the server do. The tab says setUserId once it
// is connected, also when it is recovered.
func (t *tab) connect(n *worldNode, pid, cursor string) {
	w := t.world
	c := &tabConn{tab: t, node: n, id: fmt.Sprintf("%s-%d", t.name, rand.Uint64()), pid: fmt.Sprintf("p%d", rand.Uint64())}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.socket = &socket{conn: c, cursors: t.form, chosen: t.chosen}
	t.conn = c
	session, after, recovered := bridge.Session{}, bridge.Offset{}, false
	if pid != "" && cursor != "" {
		session, after, recovered = n.hub.restore(c.ctx, nil, pid, cursor)
	}
	if recovered {
		c.id, c.pid = string(session.Socket), pid
		n.mu.Lock()
		old := n.conns[c.id]
		n.mu.Unlock()
		if old != nil { // as sio.Server.restore does
			old.gone()
		}
	}
	n.mu.Lock()
	n.conns[c.id] = c
	n.mu.Unlock()
	t.pid = c.pid
	if recovered {
		if t.seg == nil || t.seg.user != session.User { // by a forged cursor
			t.seg = &segment{user: session.User, first: -1}
		}
		if err := n.hub.bind(c.ctx, c.socket, session.User, &claim{after: after}, nil); err != nil {
			w.t.Error(err)
		}
		n.hub.Flush()
		if session.User == t.user {
			return
		}
	} else {
		c.socket.claimed = presented(sio.Auth{Offset: cursor})
	}
	if t.seg == nil || t.seg.user != t.user {
		t.seg = nil
	}
	has := claimOf(c.socket.claimed, t.user)
	if t.seg != nil && t.form != noCursor && (has == nil || has.unknown) {
		t.seg = nil // it had received nothing that it could continue from
	}
	c.socket.claimed = nil
	t.set(has)
}

// set is setUserId.
func (t *tab) set(has *claim) {
	if t.seg == nil {
		t.seg = &segment{user: t.user, first: -1}
	}
	if t.conn.socket.registration().User == t.user && !t.conn.node.hub.beginsEarlier(t.conn.socket, has) {
		return
	}
	if err := t.conn.node.hub.bind(t.conn.ctx, t.conn.socket, t.user, has, nil); err != nil && t.conn.ctx.Err() == nil {
		t.world.t.Error(err)
	}
	t.conn.node.hub.Flush()
}

// leave loses what the tab has not read. The node may not notice.
func (t *tab) leave(noticed bool) {
	c := t.conn
	c.socket.mu.Lock() // a message that is to be confirmed and its cursor are queued under it
	c.mu.Lock()
	c.cut = true
	unread := len(c.queue)
	c.mu.Unlock()
	c.socket.mu.Unlock()
	t.lose(unread)
	t.conn = nil
	if noticed {
		c.gone()
	}
}

// gone is the end of a connection on its node.
func (c *tabConn) gone() {
	c.done.Do(func() {
		c.cancel()
		c.node.hub.unbind(c.socket)
		c.node.mu.Lock()
		defer c.node.mu.Unlock()
		if c.node.conns[c.id] == c {
			delete(c.node.conns, c.id)
		}
	})
}

// settle waits until nothing is under way on any node.
func (w *world) settle() {
	for _, n := range w.nodes {
		n.hub.telling.Wait()
		n.mu.Lock()
		var ended []*tabConn
		for _, c := range n.conns {
			if c.ctx.Err() != nil {
				ended = append(ended, c)
			}
		}
		n.mu.Unlock()
		for _, c := range ended {
			c.gone()
		}
	}
	for _, n := range w.nodes {
		if w.net != noFinalResync {
			n.hub.Resync() // what the link's beat would do for a forward that was lost last
		}
		for again := true; again; {
			again = false
			if err := n.hub.catchUp(context.Background()); err != nil {
				w.t.Error(err)
			}
			for _, s := range n.hub.all() {
				again = again || s.isReplaying()
			}
		}
		n.hub.Flush()
		n.hub.flush(context.Background())
	}
}

// check holds what each tab was shown against what was published.
func (w *world) check() {
	w.settle()
	if err := w.route.Ledger().Balance().Err(); err != nil {
		w.t.Error(err)
	}
	for _, t := range w.tabs {
		if t.conn == nil || t.conn.ctx.Err() != nil || t.seg == nil || t.conn.socket.registration().User != t.seg.user {
			continue
		}
		t.conn.read(-1)
		all := w.of[t.seg.user]
		if t.seg.first < 0 { // told after the last step
			t.seg.first = len(all)
		}
		tail := all[min(t.seg.first, len(all)):]
		if w.net == latestOnly {
			continue // by design, a socket that is not the newest misses some
		}
		want := tail
		if len(t.seg.shown) > 0 && !t.seg.told {
			if i := slices.Index(all, t.seg.shown[0]); i >= 0 && i <= len(all)-len(tail) {
				want = all[i:]
			}
		}
		got := t.seg.shown
		if t.seg.told || t.form == noCursor { // what came before may have a hole that it was told of
			got = got[max(0, len(got)-len(want)):]
			if t.form == noCursor && len(got) < len(want) {
				want = want[len(want)-len(got):]
			}
		}
		if !slices.Equal(got, want) {
			w.t.Errorf("%s (form %d) of %s, mapped after %d messages, told %t, is shown %v of %v", t.name, t.form, t.seg.user, t.seg.first, t.seg.told, t.seg.shown, all)
		}
	}
	for _, n := range w.nodes { // everybody leaves
		n.mu.Lock()
		var conns []*tabConn
		for _, c := range n.conns {
			conns = append(conns, c)
		}
		n.mu.Unlock()
		for _, c := range conns {
			c.gone()
		}
	}
	w.tabs = nil
	for i, user := range w.users {
		t := &tab{world: w, name: "fresh", user: user, form: cursorArgument}
		t.connect(w.nodes[i], "", "")
		t.conn.read(-1)
		for _, n := range w.of[user] {
			if !w.sent[user][n] {
				w.t.Errorf("%d of %v was never sent to a socket of %s", n, w.of[user], user)
			}
		}
		t.conn.gone()
	}
}

func (w *world) close() {
	w.stop()
	w.work.Wait()
	for _, n := range w.nodes {
		if err := n.store.Close(); err != nil {
			w.t.Error(err)
		}
	}
}
