package subscriber

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/codewar/socketbridge/bridge"
)

// Limits of the queries that wait for this node's answer. A node answers one query at a time, and
// discards queries beyond the limits.
const (
	queryMessages = 256
	queryBytes    = 8 << 20
)

// QueryHandler answers one query about this node. It must not wait for anything but its own
// locks. Nil means that it has no answer.
type QueryHandler func(kind string, body []byte) []byte

// ServeQueries begins to answer the queries that nodes send to each other on behalf of operators.
// kind is one token of a subject. Queries have a subscription and a goroutine of their own, so that
// messages to sockets never wait for an answer.
func (c *Client) ServeQueries(handle QueryHandler) error {
	if !c.queries.CompareAndSwap(nil, &handle) {
		return errors.New("serve queries: served already")
	}
	prefix := c.cfg.querySubject(c.node, "")
	sub, err := c.nc.Subscribe(prefix+"*", func(m *nats.Msg) {
		data := handle(m.Subject[len(prefix):], m.Data)
		if m.Reply == "" || data == nil {
			return
		}
		if err := respond(m, data); err != nil { // the other node then reports this one as missing
			c.log.Debug("question not answered", "subject", m.Subject, "payload_bytes", len(data), "err", err)
		}
	})
	if err == nil {
		err = sub.SetPendingLimits(queryMessages, queryBytes)
	}
	if err != nil {
		return fmt.Errorf("serve queries: %w", err)
	}
	return nil
}

// QueryNodes sends a query to nodes, and returns the answers that come before ctx ends. It returns
// earlier when every node has answered or does not exist. This node answers without NATS; while
// NATS is not available no other node does.
func (c *Client) QueryNodes(ctx context.Context, nodes []bridge.NodeID, kind string, body []byte) map[bridge.NodeID][]byte {
	var (
		mu      sync.Mutex // guards answers
		answers = make(map[bridge.NodeID][]byte, len(nodes))
		running sync.WaitGroup
	)
	for _, node := range nodes {
		running.Go(func() {
			var data []byte
			if node != c.node {
				if m, err := c.request(ctx, c.cfg.querySubject(node, kind), body); err == nil {
					data = m.Data
				}
			} else if handle := c.queries.Load(); handle != nil {
				data = (*handle)(kind, body)
			}
			if data != nil {
				mu.Lock()
				defer mu.Unlock()
				answers[node] = data
			}
		})
	}
	running.Wait()
	return answers
}

// NotifyNode sends a query that has no answer. It never waits, and delivery is best effort. This
// node receives it without NATS.
func (c *Client) NotifyNode(node bridge.NodeID, kind string, body []byte) {
	if handle := c.queries.Load(); node == c.node && handle != nil {
		(*handle)(kind, body)
		return
	}
	_ = c.outbox.put(outgoing{Msg: &nats.Msg{Subject: c.cfg.querySubject(node, kind), Data: body}}) // best effort
}
