package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// world is three nodes, whose first one leads, the stream, and the tabs of three users.
type world struct {
	t     *testing.T
	rnd   *rand.Rand
	net   int
	nodes [3]*worldNode
	index testIndex
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

func (w *world) wasSent(user bridge.UserID, n uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sent[user] == nil {
		w.sent[user] = make(map[uint64]bool)
	}
	w.sent[user][n] = true
}

func newWorld(t *testing.T, seed uint64, open openStore) *world {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	w := &world{
		t: t, rnd: rand.New(rand.NewPCG(seed, 0)), stop: stop, users: []bridge.UserID{"alice", "bob", "carol"},
		sent: make(map[bridge.UserID]map[uint64]bool), of: make(map[bridge.UserID][]uint64), index: newIndex(),
	}
	w.net = w.rnd.IntN(nets)
	log := slog.New(slog.DiscardHandler)
	for i := range w.nodes {
		id := bridge.NodeID(fmt.Sprint("n", i))
		n := &worldNode{world: w, id: id, store: open(id), conns: make(map[string]*tabConn)}
		n.hub = New(n.store, w.index, Config{MaxPending: 1 << 20, SessionTTL: 1 << 40, Stream: w, Peers: w, LatestOnly: w.net == latestOnly}, log)
		if _, err := n.store.Beat(ctx); err != nil {
			t.Fatal(err)
		}
		w.nodes[i] = n
		w.work.Go(func() { n.hub.Run(ctx) })
	}
	routes := w.routes(seed)
	w.route = bridge.NewRouter(bridge.RouterConfig{Node: w.nodes[0].id, LatestOnly: w.net == latestOnly, AckTimeout: time.Second},
		w.nodes[0].store, w.index.Index, routes, routes, routes, log)
	return w
}

func (w *world) routes(seed uint64) testRoutes {
	luck := rand.New(rand.NewPCG(seed, 1)) // of the links; used by the router's goroutine only
	lost := make(map[bridge.NodeID]bool)
	strip := func(e *bridge.Envelope) *bridge.Envelope {
		if w.net == noChain {
			e.Before = bridge.Offset{}
		}
		return e
	}
	return testRoutes{w.nodes[0].hub, strip, func(id bridge.NodeID, batch []*bridge.Envelope, done func([]bridge.Count, error)) {
		n := w.nodes[id[1]-'0']
		if w.net != noFinalResync && luck.IntN(4) == 0 {
			lost[id] = true
			done(nil, errors.New("lost"))
			return
		}
		if lost[id] {
			lost[id] = false
			n.hub.Resync() // as the forward receiver does at a gap, before what comes next
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
	}}
}

// settle waits until nothing is under way on any node.
func (w *world) settle() {
	for _, n := range w.nodes {
		n.hub.notifying.Wait() // may close sockets of any other node
	}
	for _, n := range w.nodes {
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
			if err := n.hub.runReplays(context.Background()); err != nil {
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

func (w *world) close() {
	w.stop()
	w.work.Wait()
	for _, n := range w.nodes {
		if err := n.store.Close(); err != nil {
			w.t.Error(err)
		}
	}
}
