package subscriber

import (
	"context"
	"fmt"
	"time"
)

// Status is the state of NATS, as this node knows it.
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

// Status returns the last known state. It never waits.
func (c *Client) Status() Status {
	seen := c.streams.state()
	return Status{
		Connected: c.conn.err() == nil, URL: c.conn.url(), Embedded: c.embedded != nil,
		RTT: seen.took, Epoch: seen.epoch, Messages: seen.messages, Bytes: seen.bytes, First: seen.first, Last: seen.last,
	}
}

// Look updates the state of [Client.Status] and [Intake.Lag]. Without it the state is
// up to five seconds old.
func (c *Client) Look(ctx context.Context) error { return c.streams.see(ctx) }

// see updates the state of the main stream. A stream that is missing, or was created again, is left to
// ensure.
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
