package subscriber

import (
	"context"
	"fmt"
	"slices"
	"sync"
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

	mu    sync.Mutex // guards heard
	heard map[bridge.NodeID]time.Time
}

// newRoster begins to hear of nodes.
func newRoster(c *Client) (*roster, error) {
	r := &roster{client: c, heard: make(map[bridge.NodeID]time.Time)}
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
	_ = r.client.outbox.put(outgoing{Msg: &nats.Msg{Subject: r.client.cfg.aliveSubject(), Data: []byte(r.client.node)}}) // the next one says it again
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
