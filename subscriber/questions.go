package subscriber

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/codewar/socketbridge/bridge"
)

// Limits of the questions that wait for this node to answer them: it answers one
// at a time, and what is more is dropped, as if it were too busy.
const (
	questionMessages = 256
	questionBytes    = 8 << 20
)

// AnswerFunc answers one question about this node. It must not wait for anything
// but its own locks. A nil answer means that there is none.
type AnswerFunc func(kind string, body []byte) []byte

// asking is this node's side of the questions: who answers them.
type asking struct{ answer AnswerFunc }

// ServeQuestions begins to answer what nodes ask each other on behalf of
// operators. kind is one token of a subject.
//
// Questions have a subscription and a goroutine of their own, so the messages to
// sockets never wait for an answer.
func (c *Client) ServeQuestions(answer AnswerFunc) error {
	if !c.asked.CompareAndSwap(nil, &asking{answer}) {
		return errors.New("serve questions: served already")
	}
	prefix := c.cfg.questionSubject(c.node, "")
	sub, err := c.nc.Subscribe(prefix+"*", func(m *nats.Msg) {
		data := answer(m.Subject[len(prefix):], m.Data)
		if m.Reply == "" || data == nil {
			return
		}
		if err := respond(m, data); err != nil { // the asker names us as missing
			c.log.Debug("question not answered", "subject", m.Subject, "payload_bytes", len(data), "err", err)
		}
	})
	if err == nil {
		err = sub.SetPendingLimits(questionMessages, questionBytes)
	}
	if err != nil {
		return fmt.Errorf("serve questions: %w", err)
	}
	return nil
}

// AskNodes puts a question to nodes and returns the answers of those that gave
// one before ctx ended. It returns as soon as every node has answered or is known
// to be gone. This node answers without NATS; while NATS is away it is the only one.
func (c *Client) AskNodes(ctx context.Context, nodes []bridge.NodeID, kind string, body []byte) map[bridge.NodeID][]byte {
	var (
		mu      sync.Mutex // guards answers
		answers = make(map[bridge.NodeID][]byte, len(nodes))
		waiting sync.WaitGroup
	)
	take := func(node bridge.NodeID, data []byte) {
		if data != nil {
			mu.Lock()
			defer mu.Unlock()
			answers[node] = data
		}
	}
	lost := c.conn.gone()
	for _, node := range nodes {
		if node == c.node {
			continue
		}
		answer := make(chan []byte, 1) // the inbox must not wait
		subject := c.inbox.expect(func(m *nats.Msg) {
			if noResponders(m) {
				answer <- nil
				return
			}
			answer <- m.Data
		})
		defer c.inbox.forget(subject)
		if c.outbox.put(outgoing{Msg: &nats.Msg{Subject: c.cfg.questionSubject(node, kind), Reply: subject, Data: body}}) != nil {
			continue
		}
		waiting.Go(func() {
			select {
			case data := <-answer:
				take(node, data)
			case <-lost:
			case <-ctx.Done():
			}
		})
	}
	if a := c.asked.Load(); a != nil {
		for _, node := range nodes {
			if node == c.node {
				take(node, a.answer(kind, body))
			}
		}
	}
	waiting.Wait()
	return answers
}

// Tell gives a node something that it answers nothing to. It is best effort and
// never waits. This node is told without NATS.
func (c *Client) Tell(node bridge.NodeID, kind string, body []byte) {
	if a := c.asked.Load(); node == c.node && a != nil {
		a.answer(kind, body)
		return
	}
	_ = c.outbox.put(outgoing{Msg: &nats.Msg{Subject: c.cfg.questionSubject(node, kind), Data: body}}) // best effort
}
