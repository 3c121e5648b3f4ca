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

// linkServer is a node's side of the links: it takes what the leader forwards
// and watches the numbers.
type linkServer struct {
	receive   func([]*bridge.Envelope, func([]bridge.Count))
	resync    func()
	stream    func() streamState // as last seen; does not wait
	look      func()             // has it seen again soon
	heardTerm *atomic.Uint64     // the greatest term seen, for the election
	log       *slog.Logger
	quiet     bridge.Quiet
	refused   atomic.Uint64 // link messages

	mu    sync.Mutex // guards all below; held during receive and resync
	term  uint64
	seq   uint64    // the last number seen in this term
	heard time.Time // when
	read  uint64    // up to where the leader had read the stream at its last beat; zero: not known
	moved time.Time // when a beat last showed that it had come further
}

// ServeLinks begins to take what leaders forward to this node, and announces it. receive gets
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
	s := &linkServer{receive: receive, resync: resync, stream: c.streams.state, look: c.streams.look, heardTerm: &c.heardTerm, log: c.log}
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
	c.roster.say()
	return nil
}

// take handles one link message. A wrong one changes nothing here: were it the leader's, the next
// number shows a hole.
func (s *linkServer) take(m *nats.Msg) {
	began := time.Now()
	h, body, err := decodeHead(m.Data)
	if err != nil || h.kind != kindForward && h.kind != kindBeat {
		s.refuse(m, errLink)
		return
	}
	var batch []*bridge.Envelope
	if h.kind == kindForward {
		if batch, err = decodeForward(body); err == nil {
			err = checkForward(batch, s.stream())
		}
		if err != nil {
			s.refuse(m, err)
			answer := make([]byte, headSize)
			head{kindAnswer, h.term, h.seq}.put(answer)
			_ = respond(m, appendCounts(answer, nil)) // no counts: not pushed
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.follow(h, began)
	if h.kind != kindForward {
		s.progress(h.term, body, began)
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

// refuse counts a link message that is not one of ours, and logs it at most every ten seconds.
func (s *linkServer) refuse(m *nats.Msg, why error) {
	s.refused.Add(1)
	if errors.Is(why, errForwardOffset) {
		s.look() // the stream may be another since this node last saw it
	}
	if times, due := s.quiet.Due(time.Now()); due {
		s.log.Warn("link message refused, is another version running?", "reason", why, "payload_bytes", len(m.Data), "times", times)
	}
}

// termSilence is how long a newer term keeps an older one from being followed: five beats. It
// ends the effect of a term that no leader has.
const termSilence = 5 * time.Second

// follow holds a message's number against the last one. A number that is lower
// than it should be is a hole too: the leader has begun to count anew.
// Called with mu held.
func (s *linkServer) follow(h head, now time.Time) {
	expected := s.seq
	if h.kind == kindForward {
		expected++
	}
	switch {
	case h.term < s.term && now.Sub(s.heard) < termSilence: // a leader that does not know yet that it is none
		return
	case h.term != s.term || h.seq != expected:
		s.log.Debug("link has a hole", "term", h.term, "seq", h.seq, "expected", expected)
		s.resync()
	}
	s.term, s.seq, s.heard = h.term, h.seq, now
	s.heardTerm.Store(h.term)
}

// progress takes what a beat says of the leader. Called with mu held.
func (s *linkServer) progress(term uint64, body []byte, now time.Time) {
	read, n := binary.Uvarint(body)
	if n <= 0 || term != s.term {
		return // of an earlier version, or of a leader that does not know yet that it is none
	}
	if s.read > 0 && read != s.read {
		s.moved = now
	}
	s.read = read
}

// LeaderReads is up to which sequence the leader has read the stream, by its last beat, and when a
// beat last showed that it has come further; zero when none has. Beats come each second.
func (c *Client) LeaderReads() (read uint64, moved time.Time) {
	s := c.served.Load()
	if s == nil {
		return 0, time.Time{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.read, s.moved
}

// doubt has everything checked, because NATS was away.
func (s *linkServer) doubt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resync()
}
