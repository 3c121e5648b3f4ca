package subscriber

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/codewar/socketbridge/bridge"
)

// pendingPublishes are the publications of this process that wait for their receipts. There may
// be thousands in a second, so none has a goroutine of its own. Safe for concurrent use.
type pendingPublishes struct {
	prefix  string // of the inbox
	ours    []byte // what every PubAck of our stream contains
	batcher *publishBatcher

	mu      sync.Mutex // guards all below; held for a look-up only
	next    uint64
	waiting map[uint64]*pendingPublish
}

// pendingPublish is one of them.
type pendingPublish struct {
	*nats.Msg
	id     uint64
	result chan publishResult // capacity 1: the first one
	ack    atomic.Pointer[nats.Msg]
	state  batchState // guarded by the publishBatcher
}

// publishResult is how a publication ends: with a receipt, with a PubAck that says that the message
// was refused, or with an error.
type publishResult struct {
	receipt bridge.Receipt
	refused bool
	err     error
}

func newPendingPublishes(prefix string, ours []byte, b *publishBatcher) *pendingPublishes {
	return &pendingPublishes{prefix: prefix, ours: ours, batcher: b, waiting: make(map[uint64]*pendingPublish)}
}

// begin gives m its subjects for PubAck and receipt, and publishes it. An end must follow.
func (s *pendingPublishes) begin(m *nats.Msg) *pendingPublish {
	p := &pendingPublish{Msg: m, result: make(chan publishResult, 1)}
	s.mu.Lock()
	s.next++
	p.id = s.next
	s.waiting[p.id] = p
	s.mu.Unlock()
	b := make([]byte, 0, 128)
	b = strconv.AppendUint(append(append(b, s.prefix...), ofPubAck), p.id, 36)
	m.Reply = string(b)
	b[len(s.prefix)] = ofReceipt
	m.Header[bridge.HeaderReceipt] = []string{string(b)}
	s.batcher.add(p)
	return p
}

// end forgets a publication. It may publish those that have waited for this one, so it may
// wait for the network.
func (s *pendingPublishes) end(p *pendingPublish) {
	s.mu.Lock()
	delete(s.waiting, p.id)
	s.mu.Unlock()
	s.batcher.remove(p)
}

// find returns the publication that a subject belongs to, nil when it has ended, and what the
// subject is for. ours is false for other subjects.
func (s *pendingPublishes) find(subject string) (p *pendingPublish, what byte, ours bool) {
	rest, ours := strings.CutPrefix(subject, s.prefix)
	if !ours || rest == "" || rest[0] != ofPubAck && rest[0] != ofReceipt {
		return nil, 0, false
	}
	id, err := strconv.ParseUint(rest[1:], 36, 64)
	if err != nil {
		return nil, 0, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting[id], rest[0], true
}

// receive handles a message of NATS, and reports whether its subject is one of these.
func (s *pendingPublishes) receive(m *nats.Msg) bool {
	p, what, ours := s.find(m.Subject)
	switch {
	case p == nil:
		return ours
	case what == ofPubAck:
		p.ack.Store(m)
		if !s.stored(m) {
			p.end(publishResult{refused: true})
		} else if p.Header[bridge.HeaderAck] != nil { // its receipt waits for clients
			s.batcher.release(p)
		}
	default:
		var r bridge.Receipt
		if err := json.Unmarshal(m.Data, &r); err == nil { // malformed receipts are ignored
			p.end(publishResult{receipt: r})
		}
	}
	return true
}

// receiveLocal handles a receipt of this process's own router, which does not go through NATS, and
// reports whether its subject is one of these.
func (s *pendingPublishes) receiveLocal(subject string, r bridge.Receipt) bool {
	p, what, ours := s.find(subject)
	if p != nil && what == ofReceipt {
		p.end(publishResult{receipt: r})
	}
	return ours
}

// stored reports whether a PubAck says only that our stream has stored the message.
func (s *pendingPublishes) stored(ack *nats.Msg) bool {
	return bytes.Contains(ack.Data, s.ours) && !bytes.Contains(ack.Data, []byte(`"error"`)) && !bytes.Contains(ack.Data, []byte(`"duplicate"`))
}

func (p *pendingPublish) end(r publishResult) {
	select {
	case p.result <- r:
	default: // it has one
	}
}

// wait returns the result. Without a PubAck it fails after ackLimit and when lost is closed; with
// one the receipt may come after NATS is available again. It always ends with ctx and closed.
func (p *pendingPublish) wait(ctx context.Context, lost, closed <-chan struct{}) publishResult {
	timer := time.NewTimer(ackLimit)
	defer timer.Stop()
	for noAck := timer.C; ; lost, noAck = nil, nil {
		var err error
		select {
		case r := <-p.result:
			return r
		case <-ctx.Done():
			return publishResult{err: context.Cause(ctx)}
		case <-closed:
			return publishResult{err: errLost}
		case <-lost:
			err = errLost
		case <-noAck:
			err = errNoAck
		}
		if p.ack.Load() == nil {
			return publishResult{err: err}
		}
	}
}
