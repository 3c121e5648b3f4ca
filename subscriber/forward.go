package subscriber

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/codewar/socketbridge/bridge"
)

// answerLimit is how long a node may take to answer a forward, beside the time
// that its pages have to confirm.
const answerLimit = 2 * time.Second

var (
	errNoAnswer = errors.New("node did not answer in time")
	errClosed   = errors.New("subscriber is closed")
)

// links is the leader's side of the links: it numbers what it forwards, for each
// node from 1 in each term.
type links struct {
	cfg    Config
	nc     *nats.Conn
	inbox  *inbox
	outbox *outbox
	calls  sync.Map // *call -> nil: sent and not yet done

	mu   sync.Mutex // guards all below, and makes the outbox's order that of the numbers
	term uint64
	sent map[bridge.NodeID]uint64 // the last number used
}

func newLinks(cfg Config, nc *nats.Conn, in *inbox, out *outbox) *links {
	return &links{cfg: cfg, nc: nc, inbox: in, outbox: out, sent: make(map[bridge.NodeID]uint64)}
}

// Forward hands envelopes to a node, in the order of the calls, and calls done
// once: with a count for each envelope, or with an error. bridge.ErrNodeGone
// means that the node certainly got none of them; after any other error it may
// have. done must not wait; it may be called before Forward returns.
//
// Forward never waits for the network. What cannot be sent leaves a hole in the
// node's numbering, so the node reads from the history what it missed.
func (c *Client) Forward(term uint64, node bridge.NodeID, batch []*bridge.Envelope, done func([]bridge.Count, error)) {
	if len(batch) == 0 {
		done(nil, nil)
		return
	}
	parts := encodeForward(batch, c.conn.maxPayload())
	f := &forward{done: done, waiting: len(parts), counts: make([][]bridge.Count, len(parts))}
	for i, part := range parts {
		c.links.send(term, node, part, func(counts []bridge.Count, err error) {
			if err == nil && len(counts) != part.envelopes {
				err = errLink
			}
			f.answered(i, counts, err)
		})
	}
}

// Beat tells every node the term and the last number of its link, so that one
// whose last forward was lost notices, and up to which sequence this leader has read the stream.
func (c *Client) Beat(term, read uint64) {
	l, nodes := c.links, c.Nodes()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.enter(term)
	for _, node := range nodes {
		data := make([]byte, headSize, headSize+binary.MaxVarintLen64)
		head{kindBeat, term, l.sent[node]}.put(data)
		data = binary.AppendUvarint(data, read)
		_ = l.outbox.put(outgoing{Msg: &nats.Msg{Subject: l.cfg.nodeSubject(node), Data: data}}) // the next beat says it again
	}
}

// enter begins to number anew in a new term. Called with mu held.
func (l *links) enter(term uint64) {
	if term != l.term {
		l.term = term
		clear(l.sent)
	}
}

// skip leaves a hole in the numbering of every node, so that each asks for what it may have missed.
func (l *links) skip() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for node := range l.sent {
		l.sent[node]++
	}
}

// send numbers and queues one message, and calls done once.
func (l *links) send(term uint64, node bridge.NodeID, p part, done func([]bridge.Count, error)) {
	c := &call{links: l, done: done}
	c.reply = l.inbox.expect(c.answer)
	// Reset after the assignment: finish reads timer, and may run on the timer's goroutine.
	c.timer = time.AfterFunc(time.Hour, func() { c.finish(nil, errNoAnswer) })
	c.timer.Reset(answerLimit + p.ack)
	l.calls.Store(c, nil)

	l.mu.Lock()
	l.enter(term)
	l.sent[node]++
	head{kindForward, term, l.sent[node]}.put(p.data)
	m := &nats.Msg{Subject: l.cfg.nodeSubject(node), Reply: c.reply, Data: p.data}
	err := l.outbox.put(outgoing{m, c.unsent})
	l.mu.Unlock()
	if err != nil {
		c.unsent(err)
	}
}

// abandon ends every call that still waits.
func (l *links) abandon() {
	l.calls.Range(func(c, _ any) bool {
		c.(*call).finish(nil, errClosed)
		return true
	})
}

// call is one message on its way to a node.
type call struct {
	links *links
	reply string
	timer *time.Timer
	once  sync.Once
	done  func([]bridge.Count, error)
}

func (c *call) answer(m *nats.Msg) {
	if noResponders(m) {
		c.finish(nil, bridge.ErrNodeGone)
		return
	}
	h, body, err := decodeHead(m.Data)
	if err != nil || h.kind != kindAnswer {
		c.finish(nil, errLink)
		return
	}
	c.finish(decodeCounts(body))
}

// unsent: the message never left, so the node is as good as gone.
func (c *call) unsent(err error) { c.finish(nil, fmt.Errorf("%w: %w", bridge.ErrNodeGone, err)) }

func (c *call) finish(counts []bridge.Count, err error) {
	c.once.Do(func() {
		c.timer.Stop()
		c.links.inbox.forget(c.reply)
		c.links.calls.Delete(c)
		c.done(counts, err)
	})
}

// forward is one batch, sent in one or more parts.
type forward struct {
	done func([]bridge.Count, error)

	mu      sync.Mutex // guards all below
	waiting int        // parts without an answer
	counts  [][]bridge.Count
	gone    int   // parts that certainly did not arrive
	err     error // the first other one
}

func (f *forward) answered(part int, counts []bridge.Count, err error) {
	f.mu.Lock()
	f.counts[part] = counts
	if errors.Is(err, bridge.ErrNodeGone) {
		f.gone++
	}
	if f.err == nil {
		f.err = err
	}
	f.waiting--
	last := f.waiting == 0
	f.mu.Unlock()
	if last {
		f.finish()
	}
}

func (f *forward) finish() {
	switch {
	case f.err == nil:
		var all []bridge.Count
		for _, counts := range f.counts {
			all = append(all, counts...)
		}
		f.done(all, nil)
	case f.gone > 0 && f.gone < len(f.counts): // some part may have arrived, so hide that one did not
		f.done(nil, fmt.Errorf("forward in parts: %v", f.err)) //nolint:errorlint // hides bridge.ErrNodeGone on purpose
	default:
		f.done(nil, f.err)
	}
}

// part is one encoded message of a batch; its head is still to be written.
type part struct {
	data      []byte
	envelopes int
	ack       time.Duration // the longest that pages have to confirm one
}

// encodeForward encodes a batch in as few messages of at most limit bytes as it
// can. An envelope that is too large on its own gets a message of its own, which
// the library then refuses; the node finds it in the history.
func encodeForward(batch []*bridge.Envelope, limit int) (parts []part) {
	for start := 0; start < len(batch); {
		size, end := headSize+binary.MaxVarintLen64, start
		for end < len(batch) {
			if n := envelopeSize(batch[end]); end == start || size+n <= limit {
				size += n
				end++
			} else {
				break
			}
		}
		data := make([]byte, headSize, size)
		data = binary.AppendUvarint(data, uint64(end-start))
		p := part{envelopes: end - start}
		for _, e := range batch[start:end] {
			data = appendEnvelope(data, e)
			p.ack = max(p.ack, e.Ack)
		}
		p.data = data
		parts = append(parts, p)
		start = end
	}
	return parts
}
