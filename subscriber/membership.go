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
	// announceEvery is how often a node announces that it is alive.
	announceEvery = 500 * time.Millisecond
	// announcedFor is how long an announcement is valid.
	announcedFor = 3 * time.Second
	// unregisteredFor is how long a node receives every message after it has announced that it has
	// sockets which are not in the registry. It is longer than a leader leads without an answer of
	// NATS (leaseHeld): when announcements do not reach the leader, its term ends first, and all
	// nodes read the history.
	unregisteredFor = leaseHeld + 2*announceEvery + time.Second
)

// membership is the nodes that are alive, by their own announcements over NATS. It needs no
// store, so messages find the nodes while Redis is not available. Safe for concurrent use.
type membership struct {
	client *Client

	unregistered atomic.Bool // this node has sockets that are not in the registry

	mu    sync.Mutex // guards nodes
	nodes map[bridge.NodeID]nodeStatus
}

// nodeStatus is what another node, or this one, has said about itself.
type nodeStatus struct {
	alive        time.Time // when it last announced itself
	unregistered time.Time // when it last said that it has sockets which are not in the registry
	announced    bool      // its last announcement says so
}

// unregisteredHeader is on the announcement of a node with sockets that are not in the registry.
const unregisteredHeader = "Bridge-Unregistered"

// newMembership subscribes to the announcements.
func newMembership(c *Client) (*membership, error) {
	m := &membership{client: c, nodes: make(map[bridge.NodeID]nodeStatus)}
	if _, err := c.nc.Subscribe(c.cfg.aliveSubject(), m.receive); err != nil {
		return nil, fmt.Errorf("listen for nodes: %w", err)
	}
	return m, nil
}

func (m *membership) receive(msg *nats.Msg) {
	if !bridge.ValidNodeID(string(msg.Data)) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	node := bridge.NodeID(msg.Data)
	s := m.nodes[node]
	s.alive, s.announced = time.Now(), msg.Header.Get(unregisteredHeader) != ""
	if s.announced {
		s.unregistered = s.alive
	}
	m.nodes[node] = s
}

// run announces this node, from when it receives forwards until ctx ends.
func (m *membership) run(ctx context.Context) {
	tick := time.NewTicker(announceEvery)
	defer tick.Stop()
	for {
		if m.client.receiver.Load() != nil {
			m.announce()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (m *membership) announce() {
	msg := nats.NewMsg(m.client.cfg.aliveSubject())
	msg.Data = []byte(m.client.node)
	if m.unregistered.Load() {
		msg.Header.Set(unregisteredHeader, "1")
	}
	_ = m.client.outbox.put(outgoing{Msg: msg}) // the next one repeats it
}

// SetUnregistered says whether this node has sockets that are not in the registry. The leader
// then forwards every message to it, at the latest from the next [History.Read] that succeeds.
func (c *Client) SetUnregistered(unregistered bool) {
	if c.membership.unregistered.Swap(unregistered) != unregistered {
		c.membership.addUnregistered(c.node) // also at the end: users may have been looked up before the registrations
		c.membership.announce()
	}
}

// addUnregistered records that a node has asked for every message.
func (m *membership) addUnregistered(node bridge.NodeID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.nodes[node]
	s.unregistered = time.Now()
	m.nodes[node] = s
}

// Unregistered lists the nodes with sockets that are not in the registry: see [bridge.Nodes].
func (c *Client) Unregistered() (nodes []bridge.NodeID) {
	m := c.membership
	m.mu.Lock()
	defer m.mu.Unlock()
	for node, s := range m.nodes {
		if time.Since(s.unregistered) <= unregisteredFor || node == c.node && m.unregistered.Load() {
			nodes = append(nodes, node)
		}
	}
	return nodes
}

// Unproven reports whether a node has announced in the last three seconds that it has sockets which
// are not in the registry. Only the leader can then say that a user is offline.
func (c *Client) Unproven() bool {
	m := c.membership
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.nodes {
		if s.announced && time.Since(s.alive) <= announcedFor {
			return true
		}
	}
	return false
}

// Nodes lists the nodes that are alive, by name, and this node. A node that was killed is listed for
// some seconds more.
func (c *Client) Nodes() []bridge.NodeID {
	m := c.membership
	m.mu.Lock()
	defer m.mu.Unlock()
	nodes := []bridge.NodeID{c.node}
	for node, s := range m.nodes {
		switch {
		case time.Since(s.alive) <= announcedFor:
			if node != c.node {
				nodes = append(nodes, node)
			}
		case node != c.node && time.Since(s.unregistered) > unregisteredFor:
			delete(m.nodes, node)
		}
	}
	slices.Sort(nodes)
	return nodes
}
