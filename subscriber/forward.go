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

// answerLimit is how long a node may take to answer a forward, in addition to the time
// that clients have to confirm a message.
const answerLimit = 2 * time.Second

// forwarder is the leader's side of the forwards to other nodes. It numbers them, for each
// node from 1 in each term.
type forwarder struct {
	cfg    Config
	inbox  *inbox
	outbox *outbox

	mu   sync.Mutex // guards all below, and makes the order of the outbox that of the numbers
	term uint64
	sent map[bridge.NodeID]uint64 // the last number of each node
}

func newForwarder(cfg Config, in *inbox, out *outbox) *forwarder {
	return &forwarder{cfg: cfg, inbox: in, outbox: out, sent: make(map[bridge.NodeID]uint64)}
}

// Forward sends envelopes to a node, in the order of the calls, and calls done
// once: with a count for each envelope, or with an error. [bridge.ErrNodeGone]
// means that the node has received none of them. After any other error it may
// have received some. done must not wait; it may be called before Forward returns.
//
// Forward never waits for the network. An envelope that cannot be sent leaves a gap in the
// node's numbers, so the node reads it from the history.
func (c *Client) Forward(term uint64, node bridge.NodeID, batch []*bridge.Envelope, done func([]bridge.Count, error)) {
	if len(batch) == 0 {
		done(nil, nil)
		return
	}
	parts := encodeForward(batch, c.conn.maxPayload())
	f := &forwardAnswers{done: done, waiting: len(parts), parts: len(parts), counts: make([]bridge.Count, len(batch))}
	first := 0 // envelope of the part
	for _, part := range parts {
		counts := f.counts[first : first+part.envelopes]
		first += part.envelopes
		c.forwarder.send(term, node, part, func(m *nats.Msg, err error) { f.add(counts, m, err) })
	}
}

// Beat tells every node the term, the last number of its forwards, so that it notices when the last
// one was lost, and the sequence up to which this leader has read the stream.
func (c *Client) Beat(term, read uint64) {
	f, nodes := c.forwarder, c.Nodes()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.enter(term)
	for _, node := range nodes {
		data := make([]byte, headSize, headSize+binary.MaxVarintLen64)
		head{kindBeat, term, f.sent[node]}.put(data)
		data = binary.AppendUvarint(data, read)
		_ = f.outbox.put(outgoing{Msg: &nats.Msg{Subject: f.cfg.nodeSubject(node), Data: data}}) // the next beat repeats it
	}
}

// enter restarts the numbers in a new term. Called with mu held.
func (f *forwarder) enter(term uint64) {
	if term != f.term {
		f.term = term
		clear(f.sent)
	}
}

// skip leaves a gap in the numbers of every node, so that each reads from the history what it may
// have missed.
func (f *forwarder) skip() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for node := range f.sent {
		f.sent[node]++
	}
}

// send numbers and queues one message, and calls done once.
func (f *forwarder) send(term uint64, node bridge.NodeID, p part, done func(*nats.Msg, error)) {
	r := f.inbox.request(f.cfg.nodeSubject(node), answerLimit+p.ack, done)
	f.mu.Lock()
	f.enter(term)
	f.sent[node]++
	head{kindForward, term, f.sent[node]}.put(p.data)
	err := r.send(p.data)
	f.mu.Unlock()
	if err != nil {
		r.end(nil, fmt.Errorf("%w: %w", errUnsent, err))
	}
}

// forwardAnswers collects the answers to one batch, which is sent in one or more parts.
type forwardAnswers struct {
	done  func([]bridge.Count, error)
	parts int

	mu      sync.Mutex // guards all below
	waiting int        // parts without an answer
	counts  []bridge.Count
	gone    int   // parts that the node has not received
	err     error // the first one
}

// add records the answer to one part, whose counts go into counts.
func (f *forwardAnswers) add(counts []bridge.Count, m *nats.Msg, err error) {
	var answer []bridge.Count
	if err == nil {
		answer, err = decodeAnswer(m.Data)
	}
	if err == nil && len(answer) != len(counts) {
		err = errForward
	}
	if errors.Is(err, errUnsent) {
		err = fmt.Errorf("%w: %w", bridge.ErrNodeGone, err)
	}
	f.mu.Lock()
	copy(counts, answer)
	if errors.Is(err, bridge.ErrNodeGone) {
		f.gone++
	}
	if f.err == nil {
		f.err = err
	}
	f.waiting--
	last := f.waiting == 0
	f.mu.Unlock()
	switch {
	case !last:
	case f.err == nil:
		f.done(f.counts, nil)
	case f.gone > 0 && f.gone < f.parts: // some part may have arrived, so hide that one did not
		f.done(nil, fmt.Errorf("forward in parts: %v", f.err)) //nolint:errorlint // hides bridge.ErrNodeGone on purpose
	default:
		f.done(nil, f.err)
	}
}

// part is one encoded message of a batch; its head is still to be written.
type part struct {
	data      []byte
	envelopes int
	ack       time.Duration // the longest time that clients have to confirm an envelope
}

// encodeForward encodes a batch in as few messages of at most limit bytes as possible. An envelope
// that is larger gets a message of its own. The client library refuses that, and the node reads the
// envelope from the history.
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
