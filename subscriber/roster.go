package subscriber

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/codewar/socketbridge/bridge"
)

const (
	// announceEvery is how often a node says that it lives.
	announceEvery = 500 * time.Millisecond
	// announcedFor is how long it is taken for alive after that.
	announcedFor = 3 * time.Second
)

// roster is which nodes live, as they say themselves over NATS. It needs no store, so that
// messages find the nodes while the store is away. Safe for concurrent use.
type roster struct {
	client *Client

	unregistered atomic.Bool // this node has sockets that the store does not know of

	mu      sync.Mutex // guards all below
	heard   map[bridge.NodeID]time.Time
	without map[bridge.NodeID]time.Time // of these, the nodes with such sockets
}

// unregisteredHeader is on the announcement of a node with such sockets.
const unregisteredHeader = "Bridge-Unregistered"

// newRoster begins to hear of nodes.
func newRoster(c *Client) (*roster, error) {
	r := &roster{client: c, heard: make(map[bridge.NodeID]time.Time), without: make(map[bridge.NodeID]time.Time)}
	if _, err := c.nc.Subscribe(c.cfg.aliveSubject(), r.hear); err != nil {
		return nil, fmt.Errorf("listen for nodes: %w", err)
	}
	return r, nil
}

func (r *roster) hear(m *nats.Msg) {
	node := string(m.Data)
	if !bridge.ValidNodeID(node) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard[bridge.NodeID(node)] = time.Now()
	if m.Header.Get(unregisteredHeader) != "" {
		r.without[bridge.NodeID(node)] = time.Now()
	} else {
		delete(r.without, bridge.NodeID(node))
	}
}

// announce says that this node lives, from when it takes what is forwarded until ctx ends.
func (r *roster) announce(ctx context.Context) {
	tick := time.NewTicker(announceEvery)
	defer tick.Stop()
	for {
		if r.client.served.Load() != nil {
			r.say()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (r *roster) say() {
	m := nats.NewMsg(r.client.cfg.aliveSubject())
	m.Data = []byte(r.client.node)
	if r.unregistered.Load() {
		m.Header.Set(unregisteredHeader, "1")
	}
	_ = r.client.outbox.put(outgoing{Msg: m}) // the next one says it again
}

// Unproven reports whether a node has announced in the last three seconds that it has sockets which
// the store does not know of. Only the leader, which asks that node, can say then who is offline.
func (c *Client) Unproven() bool {
	r := c.roster
	r.mu.Lock()
	defer r.mu.Unlock()
	for node, at := range r.without {
		if time.Since(at) <= announcedFor {
			return true
		}
		delete(r.without, node)
	}
	return false
}

// Nodes lists the nodes that live, this one among them, by name. One that was killed is
// listed for some seconds more.
func (c *Client) Nodes() []bridge.NodeID {
	r := c.roster
	r.mu.Lock()
	defer r.mu.Unlock()
	nodes := []bridge.NodeID{c.node}
	for node, at := range r.heard {
		switch {
		case time.Since(at) > announcedFor:
			delete(r.heard, node)
		case node != c.node:
			nodes = append(nodes, node)
		}
	}
	slices.Sort(nodes)
	return nodes
}
