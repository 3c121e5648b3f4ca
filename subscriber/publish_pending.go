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

// asks are the publications of this process that wait for their receipts. There may
// be thousands in a second, so none has a timer or a goroutine of its own: one watch
// looks after them all.
type asks struct {
	prefix string // of the inbox
	ours   []byte // what a PubAck of our stream has in it
	convoy *convoy

	mu      sync.Mutex // guards all below; held for no more than a look-up
	next    uint64
	looks   uint64 // how often the watch has looked
	waiting map[uint64]*ask
}

// ask is one of them.
type ask struct {
	*nats.Msg
	id    uint64
	lost  <-chan struct{} // closed when the connection that it goes over is gone
	looks uint64          // of the watch when it began
	ended chan ending     // capacity 1: what comes first
	ack   atomic.Pointer[nats.Msg]
	place convoyPlace // guarded by the convoy
}

// ending is how a call ends. Without an error and with no receipt the PubAck has it.
type ending struct {
	receipt bridge.Receipt
	refused bool // the PubAck says that the stream did not take it
	err     error
}

func newAsks(prefix string, ours []byte, v *convoy) *asks {
	return &asks{prefix: prefix, ours: ours, convoy: v, waiting: make(map[uint64]*ask)}
}

// begin gives m its subjects for PubAck and receipt, and publishes it. What comes for
// it, or goes wrong, is the call's answer, until it ends.
func (s *asks) begin(m *nats.Msg, lost <-chan struct{}) *ask {
	c := &ask{Msg: m, lost: lost, ended: make(chan ending, 1)}
	s.mu.Lock()
	s.next++
	c.id, c.looks = s.next, s.looks
	s.waiting[c.id] = c
	s.mu.Unlock()
	b := make([]byte, 0, 128)
	b = strconv.AppendUint(append(append(b, s.prefix...), ofPubAck), c.id, 36)
	m.Reply = string(b)
	b[len(s.prefix)] = ofReceipt
	m.Header[bridge.HeaderReceipt] = []string{string(b)}
	s.convoy.join(c)
	return c
}

// end must follow begin. Others may publish what has waited for this one, so it may
// wait for the network.
func (s *asks) end(c *ask) {
	s.mu.Lock()
	delete(s.waiting, c.id)
	s.mu.Unlock()
	s.convoy.end(c)
}

// find returns the call that a subject belongs to, nil when it has ended or never
// was, and what for; ours is false for other subjects.
func (s *asks) find(subject string) (c *ask, what byte, ours bool) {
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

// take hands over what came from NATS, and reports whether it was for a call.
func (s *asks) take(m *nats.Msg) bool {
	c, what, ours := s.find(m.Subject)
	switch {
	case c == nil:
		return ours
	case what == ofPubAck:
		c.ack.Store(m)
		if !s.stored(m) {
			c.take(ending{refused: true})
		} else if c.slow() {
			s.convoy.leave(c)
		}
	default:
		var r bridge.Receipt
		if err := json.Unmarshal(m.Data, &r); err == nil { // malformed receipts are ignored
			c.take(ending{receipt: r})
		}
	}
	return true
}

// takeReceipt hands over a receipt of this process's own router, which takes no way
// over NATS, and reports whether its subject is here.
func (s *asks) takeReceipt(subject string, r bridge.Receipt) bool {
	c, what, ours := s.find(subject)
	if c != nil && what == ofReceipt {
		c.take(ending{receipt: r})
	}
	return ours
}

// stored reports whether a PubAck says nothing but that our stream has the message.
func (s *asks) stored(ack *nats.Msg) bool {
	return bytes.Contains(ack.Data, s.ours) && !bytes.Contains(ack.Data, []byte(`"error"`)) && !bytes.Contains(ack.Data, []byte(`"duplicate"`))
}

func (c *ask) take(e ending) {
	select {
	case c.ended <- e:
	default: // it has one
	}
}

// slow reports whether the receipt waits for people's browsers.
func (c *ask) slow() bool { return c.Header[bridge.HeaderAck] != nil }

// watchEvery is how exactly ackLimit is kept.
const watchEvery = 250 * time.Millisecond

// watch ends calls whose PubAck does not come, at once when the connection is lost,
// until ctx ends; then it ends all.
func (s *asks) watch(ctx context.Context, conn *connection) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for changed := conn.change(); ; {
		select {
		case <-tick.C:
			s.look(1)
		case <-changed:
			changed = conn.change() // before looking, so that none is overlooked
			s.look(0)
		case <-ctx.Done():
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, c := range s.waiting {
				c.take(ending{err: errLost})
			}
			return
		}
	}
}

// ackLooks is ackLimit, and what may have passed of the look in which the call began.
const ackLooks = uint64(ackLimit/watchEvery) + 1

func (s *asks) look(passed uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks += passed
	for _, c := range s.waiting {
		if c.ack.Load() != nil {
			continue // the receipt comes when NATS is back
		}
		select {
		case <-c.lost:
			c.take(ending{err: errLost})
		default:
			if s.looks-c.looks >= ackLooks {
				c.take(ending{err: errNoAck})
			}
		}
	}
}
