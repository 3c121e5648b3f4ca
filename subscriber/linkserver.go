package subscriber

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/codewar/socketbridge/bridge"
)

// linkServer is a node's side of the links: it takes what the leader forwards
// and watches the numbers.
type linkServer struct {
	receive func([]*bridge.Envelope, func([]bridge.Count))
	resync  func()
	log     *slog.Logger

	mu   sync.Mutex // guards all below; held during receive and resync
	term uint64
	seq  uint64 // the last number seen in this term
}

// ServeLinks begins to take what leaders forward to this node. receive gets
// batches in order and must not wait; it calls answer once with a count for each
// envelope, at once or, where pages are to confirm, when they have.
//
// resync is called when something may be missing: a hole in the numbers, a new
// term, or NATS was away. It is called before the message that showed it is
// received, never at the same time as receive, and must make sure that no socket
// moves past what it missed: each is to be brought up to date from the history.
// It may be called often; it must be cheap.
//
// Forwards of an older term are still received: pushing is idempotent.
func (c *Client) ServeLinks(receive func(batch []*bridge.Envelope, answer func([]bridge.Count)), resync func()) error {
	s := &linkServer{receive: receive, resync: resync, log: c.log}
	if !c.served.CompareAndSwap(nil, s) {
		return errors.New("serve links: served already")
	}
	if _, err := c.nc.Subscribe(c.cfg.nodeSubject(c.node), s.take); err != nil {
		return fmt.Errorf("serve links: %w", err)
	}
	if c.conn.err() == nil {
		// From here on a forward finds us; while NATS is away no leader forwards.
		if err := c.nc.FlushTimeout(dialLimit); err != nil && c.conn.err() == nil {
			return fmt.Errorf("serve links: %w", err)
		}
	}
	return nil
}

// take handles one link message.
func (s *linkServer) take(m *nats.Msg) {
	began := time.Now()
	h, body, err := decodeHead(m.Data)
	if err != nil {
		s.log.Warn("unknown link message, is another version running?", "payload_bytes", len(m.Data))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.follow(h)
	if h.kind != kindForward {
		return
	}
	batch, err := decodeForward(body)
	if err != nil {
		s.log.Warn("broken link message", "payload_bytes", len(m.Data))
		s.resync()
		return
	}
	s.receive(batch, func(counts []bridge.Count) {
		answer := make([]byte, headSize, headSize+10+6*len(counts))
		head{kindAnswer, h.term, h.seq}.put(answer)
		if err := respond(m, appendCounts(answer, counts)); err != nil {
			s.log.Debug("link not answered", "err", err, "took", time.Since(began))
		}
	})
}

// follow holds a message's number against the last one. A number that is lower
// than it should be is a hole too: the leader has begun to count anew.
// Called with mu held.
func (s *linkServer) follow(h head) {
	expected := s.seq
	if h.kind == kindForward {
		expected++
	}
	switch {
	case h.term < s.term: // a leader that does not know yet that it is none
		return
	case h.term > s.term || h.seq != expected:
		s.log.Debug("link has a hole", "term", h.term, "seq", h.seq, "expected", expected)
		s.resync()
	}
	s.term, s.seq = h.term, h.seq
}

// doubt has everything checked, because NATS was away.
func (s *linkServer) doubt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resync()
}
