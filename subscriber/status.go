package subscriber

import (
	"context"
	"fmt"
	"time"
)

// Status is what this node sees of NATS.
type Status struct {
	Connected bool
	URL       string // of the server, without credentials
	Embedded  bool
	RTT       time.Duration // of the last request for the stream's state
	Epoch     uint64        // of the stream, as in [bridge.Offset]; zero: never seen
	Messages  uint64        // in the stream
	Bytes     uint64
	First     uint64 // sequences
	Last      uint64
}

// Status returns what was seen last. It never waits.
func (c *Client) Status() Status {
	seen := c.streams.state()
	return Status{
		Connected: c.conn.err() == nil, URL: c.conn.url(), Embedded: c.embedded != nil,
		RTT: seen.took, Epoch: seen.epoch, Messages: seen.messages, Bytes: seen.bytes, First: seen.first, Last: seen.last,
	}
}

// Look asks NATS for the stream's state, for [Client.Status] and [Intake.Lag].
// Without it these are up to five seconds old.
func (c *Client) Look(ctx context.Context) error { return c.streams.see(ctx) }

// see looks at the main stream as it is. One that is missing, or was made anew, is
// ensure's business.
func (s *streams) see(ctx context.Context) error {
	if err := s.conn.err(); err != nil {
		return err
	}
	ctx, cancel := s.conn.while(ctx)
	defer cancel()
	began := time.Now()
	stream, err := s.js.Stream(ctx, s.cfg.Stream.Name)
	if err != nil {
		return fmt.Errorf("look at the stream: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if seen := stateOf(stream, s.lineage, began); seen.created == s.main.created {
		s.main = seen
	}
	return nil
}
