package subscriber

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/codewar/socketbridge/bridge"
)

// forwardReceiver is a node's side of the forwards. It receives what the leader sends, and checks
// the numbers.
type forwardReceiver struct {
	receive   func([]*bridge.Envelope, func([]bridge.Count))
	resync    func()
	stream    func() streamState // the last known state; does not wait
	look      func()             // updates that state soon
	heardTerm *atomic.Uint64     // the term of the last message, for the election
	log       *slog.Logger
	limiter   bridge.LogLimiter
	refused   atomic.Uint64 // messages

	mu    sync.Mutex // guards all below; held during receive and resync
	term  uint64
	seq   uint64    // the last number in this term
	heard time.Time // when it came
	read  uint64    // the sequence up to which the leader had read the stream at its last beat; zero: not known
	moved time.Time // when a beat last had a greater one
}

// ReceiveForwards begins to receive what leaders forward to this node, and announces the node.
// receive gets batches in order and must not wait. It calls answer once with a count for each
// envelope: at once or, when clients are to confirm an envelope, when they have.
//
// resync is called when the node may have missed a message: after a gap in the numbers, in a new
// term, and when NATS was not available. It is called before the message that shows the gap is
// received, and never at the same time as receive. It must make sure that each socket reads
// the history before it moves past what it missed. It is called often, so it must be cheap.
//
// Forwards of an older term are received too: pushing is idempotent.
func (c *Client) ReceiveForwards(receive func(batch []*bridge.Envelope, answer func([]bridge.Count)), resync func()) error {
	r := &forwardReceiver{receive: receive, resync: resync, stream: c.streams.state, look: c.streams.look, heardTerm: &c.heardTerm, log: c.log}
	if !c.receiver.CompareAndSwap(nil, r) {
		return errors.New("receive forwards: done already")
	}
	if _, err := c.nc.Subscribe(c.cfg.nodeSubject(c.node), r.handle); err != nil {
		return fmt.Errorf("receive forwards: %w", err)
	}
	if c.conn.err() == nil {
		// After the flush a forward reaches this node. While NATS is not available no leader forwards.
		if err := c.nc.FlushTimeout(dialLimit); err != nil && c.conn.err() == nil {
			return fmt.Errorf("receive forwards: %w", err)
		}
	}
	c.membership.announce()
	return nil
}

// handle handles one message of a leader. An invalid one changes nothing: if a leader did send it,
// the next number shows a gap.
func (r *forwardReceiver) handle(m *nats.Msg) {
	began := time.Now()
	h, body, err := decodeHead(m.Data)
	if err != nil || h.kind != kindForward && h.kind != kindBeat {
		r.refuse(m, errForward)
		return
	}
	answer := func(counts []bridge.Count) error {
		data := make([]byte, headSize, headSize+10+6*len(counts))
		head{kindAnswer, h.term, h.seq}.put(data)
		return respond(m, appendCounts(data, counts))
	}
	var batch []*bridge.Envelope
	if h.kind == kindForward {
		if batch, err = decodeForward(body); err == nil {
			err = checkForward(batch, r.stream())
		}
		if err != nil {
			r.refuse(m, err)
			_ = answer(nil) // no counts: not pushed
			return
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checkSequence(h, began)
	if h.kind != kindForward {
		r.noteProgress(h.term, body, began)
		return
	}
	r.receive(batch, func(counts []bridge.Count) {
		if err := answer(counts); err != nil {
			r.log.Debug("link not answered", "err", err, "took", time.Since(began))
		}
	})
}

// refuse counts an invalid message, and logs it at most every ten seconds.
func (r *forwardReceiver) refuse(m *nats.Msg, why error) {
	r.refused.Add(1)
	if errors.Is(why, errForwardOffset) {
		r.look() // the stream may have been made again since this node looked at it
	}
	if times, due := r.limiter.Due(time.Now()); due {
		r.log.Warn("link message refused, is another version running?", "reason", why, "payload_bytes", len(m.Data), "times", times)
	}
}

// termSilence is how long the messages of a greater term make the receiver ignore the numbers of a
// lower one: five beats. It ends the effect of a term that no leader has.
const termSilence = 5 * time.Second

// checkSequence compares a message's number with the last one, and calls resync when they do not
// follow each other. A lower number is a gap too: the leader counts from 1 again.
// Called with mu held.
func (r *forwardReceiver) checkSequence(h head, now time.Time) {
	expected := r.seq
	if h.kind == kindForward {
		expected++
	}
	switch {
	case h.term < r.term && now.Sub(r.heard) < termSilence: // from a leader that was replaced and has not noticed
		return
	case h.term != r.term || h.seq != expected:
		r.log.Debug("link has a hole", "term", h.term, "seq", h.seq, "expected", expected)
		r.resync()
	}
	r.term, r.seq, r.heard = h.term, h.seq, now
	r.heardTerm.Store(h.term)
}

// noteProgress records what a beat says about the leader. Called with mu held.
func (r *forwardReceiver) noteProgress(term uint64, body []byte, now time.Time) {
	read, n := binary.Uvarint(body)
	if n <= 0 || term != r.term {
		return // of an earlier version, or of a leader that was replaced
	}
	if r.read > 0 && read != r.read {
		r.moved = now
	}
	r.read = read
}

// LeaderReads returns the sequence up to which the leader has read the stream, by its last beat, and
// when a beat last had a greater one; zero when none has. Leaders send a beat each second.
func (c *Client) LeaderReads() (read uint64, moved time.Time) {
	r := c.receiver.Load()
	if r == nil {
		return 0, time.Time{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.read, r.moved
}

// markSuspect calls resync because messages may have been lost.
func (r *forwardReceiver) markSuspect() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.resync()
}
