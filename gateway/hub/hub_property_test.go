package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/sio"
)

// TestNothingLostNothingTwice interleaves, at random, pages that come, leave and
// return on other nodes with messages, some of which are withdrawn when nobody takes them, lost
// forwards, lapsed leases and moments without a leader, on two nodes over one store and one index.
// Whatever happens, each page must receive its user's messages in order, each once, with none
// missing from its first to the last one published while it was open.
func TestNothingLostNothingTwice(t *testing.T) {
	t.Parallel()
	propertyRounds(t, 2000, 1000, func(t *testing.T, seed uint64, open openStore) (what string) {
		c := newCluster(t, seed, open)
		c.play()
		c.check()
		c.close()
		return fmt.Sprint("net ", c.net)
	})
}

// leaderless is a history whose first questions find no leader.
type leaderless struct {
	bridge.History
	failing int64 // how many
	asked   atomic.Int64
}

func (h *leaderless) Read(ctx context.Context, q bridge.HistoryQuery) (bridge.Replay, error) {
	if h.asked.Add(1) <= h.failing {
		return bridge.Replay{}, bridge.ErrUnavailable
	}
	return h.History.Read(ctx, q)
}

// cluster is two nodes, whose first one leads, and the pages of two users.
type cluster struct {
	t     *testing.T
	rnd   *rand.Rand
	net   int // that the round does without; see allNets
	index testIndex
	nodes [2]*testNode
	users []bridge.UserID
	route *bridge.Router
	stop  context.CancelFunc
	work  sync.WaitGroup

	published map[bridge.UserID]int // routed so far; written by the publishing goroutine between steps
	pages     []*page
}

type testNode struct {
	id    bridge.NodeID
	store bridge.Store
	hub   *Hub
}

// page is a browser page that lives through several sockets.
type page struct {
	user bridge.UserID
	from int // messages published when it was first mapped: from the next one on it must have all
	open *pageConn
	// shadowed: another page of the user may have been the newer one, so that with latestOnly
	// some messages were not for this one.
	shadowed bool

	mu  sync.Mutex
	got []bridge.Offset
}

// pageConn is one connection of a page.
type pageConn struct {
	page   *page
	node   *testNode
	socket *socket
	id     string
	ctx    context.Context
	cancel context.CancelFunc
}

var errGone = errors.New("gone")

func (c *pageConn) ID() string                                                  { return c.id }
func (c *pageConn) PID() string                                                 { return "" }
func (c *pageConn) Emit(string, ...any) error                                   { return nil }
func (c *pageConn) EmitWithAck(string, time.Duration, []any, sio.AckFunc) error { return errGone }
func (c *pageConn) WaitDrained(context.Context, int) error                      { return c.ctx.Err() }
func (c *pageConn) Pending() int                                                { return 0 }
func (c *pageConn) Close(string)                                                { c.cancel() }
func (c *pageConn) Queue(p *sio.Packet) error                                   { return c.Push(p) }
func (c *pageConn) Push(p *sio.Packet) error {
	if c.ctx.Err() != nil {
		return errGone
	}
	if strings.Contains(p.String(), offsetEvent) {
		return nil
	}
	text := strings.TrimSuffix(p.String(), `"]`)
	at, err := bridge.ParseCursor(text[strings.LastIndexByte(text, '"')+1:])
	if err != nil || c.page.user != "" && at.Tag != bridge.UserTag(c.page.user) {
		panic(p.String())
	}
	c.page.mu.Lock()
	defer c.page.mu.Unlock()
	c.page.got = append(c.page.got, at.Offset)
	return nil
}

func newCluster(t *testing.T, seed uint64, open openStore) *cluster {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	ctx, stop := context.WithCancel(context.Background())
	c := &cluster{
		t: t, rnd: rand.New(rand.NewPCG(seed, 0)), stop: stop,
		users: []bridge.UserID{"alice", "bob"}, published: make(map[bridge.UserID]int), index: newIndex(),
	}
	c.net = c.rnd.IntN(nets)
	luck := rand.New(rand.NewPCG(seed, 1)) // of the link; used by the router's goroutine only
	for i, id := range []bridge.NodeID{"n0", "n1"} {
		s := open(id)
		history := &leaderless{History: c.index}
		if seed%8 == 0 { // to try again takes its time
			history.failing = luck.Int64N(3)
		}
		n := &testNode{id: id, store: s, hub: New(s, history, Config{MaxPending: 1 << 20, SessionTTL: 1 << 40, LatestOnly: c.net == latestOnly}, log)}
		if _, err := s.Beat(ctx); err != nil {
			t.Fatal(err)
		}
		c.nodes[i] = n
		c.work.Go(func() { n.hub.Run(ctx) })
	}
	leader, follower := c.nodes[0], c.nodes[1]
	lost := false
	strip := func(e *bridge.Envelope) *bridge.Envelope {
		if c.net == noChain {
			e.Before = bridge.Offset{}
		}
		return e
	}
	routes := testRoutes{leader.hub, strip, func(_ bridge.NodeID, batch []*bridge.Envelope, done func([]bridge.Count, error)) {
		counts := make([]bridge.Count, len(batch))
		if c.net != noFinalResync && luck.IntN(4) == 0 {
			lost = true
			done(nil, errors.New("lost"))
			return
		}
		if lost {
			lost = false
			follower.hub.Resync() // as the forward receiver does at a gap, before what comes next
		}
		for i, e := range batch {
			counts[i] = follower.hub.Push(strip(e))
		}
		done(counts, nil)
	}}
	c.route = bridge.NewRouter(bridge.RouterConfig{Node: leader.id, LatestOnly: c.net == latestOnly}, leader.store, c.index.Index, routes, routes, routes, log)
	return c
}

// play runs publisher and pages side by side, in some steps.
func (c *cluster) play() {
	const term = 1
	c.route.Begin(term)
	seq := uint64(0)
	for range 4 {
		var batch []bridge.Message
		for range c.rnd.IntN(4) {
			seq++
			user := c.users[c.rnd.IntN(len(c.users))]
			m := bridge.Message{
				Offset: bridge.Offset{Epoch: 1, Seq: seq}, Topic: "t", Stored: time.Now(), Body: fmt.Appendf(nil, `{"userId":%q}`, user),
			}
			if c.rnd.IntN(4) == 0 {
				m.Header = map[string][]string{bridge.HeaderOffline: {bridge.OfflineDrop}}
			}
			batch = append(batch, m)
		}
		var step sync.WaitGroup
		for _, act := range c.actions() {
			step.Go(act)
		}
		if len(batch) > 0 {
			if err := c.route.Route(context.Background(), term, batch); err != nil {
				c.t.Error(err)
			}
		}
		step.Wait()
		for _, m := range batch {
			for _, u := range c.users {
				if strings.Contains(string(m.Body), string(u)) {
					c.published[u]++
				}
			}
		}
		for _, p := range c.pages {
			if p.open != nil && p.from < 0 {
				p.from = c.published[p.user]
			}
		}
	}
	c.route.End(term)
}

// actions are what pages and nodes do in one step; the plan is drawn here, on one
// goroutine, so that a seed repeats it.
func (c *cluster) actions() (acts []func()) {
	for _, p := range c.pages {
		switch {
		case p.open != nil && c.rnd.IntN(3) == 0:
			conn := p.open
			p.open = nil
			acts = append(acts, conn.leave)
		case p.open == nil && c.rnd.IntN(2) == 0:
			acts = append(acts, c.visit(p))
		}
	}
	if len(c.pages) < 4 {
		p := &page{user: c.users[c.rnd.IntN(len(c.users))], from: -1}
		c.pages = append(c.pages, p)
		acts = append(acts, c.visit(p))
	}
	n := c.nodes[c.rnd.IntN(len(c.nodes))]
	switch c.rnd.IntN(6) {
	case 0:
		acts = append(acts, n.hub.Resync)
	case 1:
		if c.net == latestOnly {
			break // it would make its sockets the newest
		}
		acts = append(acts, func() {
			if err := n.hub.Rejoined(context.Background()); err != nil {
				c.t.Error(err)
			}
		})
	}
	return acts
}

// visit opens a connection of the page on some node; a page that was there before
// presents its offset.
func (c *cluster) visit(p *page) func() {
	conn := &pageConn{page: p, node: c.nodes[c.rnd.IntN(len(c.nodes))], id: fmt.Sprint("s", c.rnd.Uint64())}
	conn.ctx, conn.cancel = context.WithCancel(context.Background())
	conn.socket = &socket{conn: conn, cursors: cursorArgument}
	var has *claim
	if p.from >= 0 {
		last := bridge.Offset{Epoch: 1}
		if n := len(p.got); n > 0 {
			last = p.got[n-1]
		} else {
			last.Seq = 0
		}
		has = &claim{after: last}
	}
	for _, q := range c.pages {
		if q != p && q.user == p.user {
			p.shadowed, q.shadowed = true, true
		}
	}
	p.open = conn
	return func() {
		if err := conn.node.hub.bind(conn.ctx, conn.socket, p.user, has, nil); err != nil {
			c.t.Error(err)
		}
	}
}

func (c *pageConn) leave() {
	c.cancel()
	c.node.hub.unbind(c.socket)
}

// check waits until nothing is under way, then holds what each page got against
// what was published.
func (c *cluster) check() {
	for _, n := range c.nodes {
		if c.net != noFinalResync {
			n.hub.Resync() // what the link's beat would do for a forward that was lost last
		}
		if err := n.hub.runReplays(context.Background()); err != nil {
			c.t.Error(err)
		}
		for _, s := range n.hub.all() {
			for s.isReplaying() {
				if err := n.hub.runReplays(context.Background()); err != nil {
					c.t.Error(err)
				}
			}
		}
	}
	if err := c.route.Ledger().Balance().Err(); err != nil {
		c.t.Error(err)
	}
	for i, p := range c.pages {
		if p.open == nil {
			continue
		}
		all := c.index.Index.Read(bridge.HistoryQuery{User: p.user, Limit: 1000, Peek: true})
		var want []bridge.Offset
		for _, e := range all.Entries {
			want = append(want, e.Offset)
		}
		first := len(want) // where the page's messages begin
		if len(p.got) > 0 {
			first = slices.Index(want, p.got[0])
		}
		if c.net == latestOnly && p.shadowed {
			if !slices.IsSortedFunc(p.got, bridge.Offset.Compare) || len(slices.Compact(slices.Clone(p.got))) != len(p.got) {
				c.t.Errorf("page %d of %s got %v", i, p.user, p.got)
			}
			continue
		}
		if first < 0 || first > p.from || !slices.Equal(p.got, want[first:]) {
			c.t.Errorf("page %d of %s, mapped after %d messages, got %v of %v", i, p.user, p.from, p.got, want)
		}
	}
}

func (s *socket) isReplaying() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.replaying
}

func (c *cluster) close() {
	c.stop()
	c.work.Wait()
	for _, n := range c.nodes {
		if err := n.store.Close(); err != nil {
			c.t.Error(err)
		}
	}
}
