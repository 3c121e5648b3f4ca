package sio

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// drainWave is the least time between two waves of a drain.
const drainWave = 100 * time.Millisecond

// Drain refuses new connections and ends the existing ones in waves over that time, in random
// order, so that their clients, which reconnect at once, do not all reach the other nodes at
// the same moment. Each client gets what was queued for it. When ctx ends, the rest stay
// open; [Server.Close] ends them.
func (s *Server) Drain(ctx context.Context, over time.Duration) {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.endInWaves(ctx, over)
}

// Evacuate does the same, but [Server.Resume] undoes the refusal.
func (s *Server) Evacuate(ctx context.Context, over time.Duration) {
	s.Pause()
	s.endInWaves(ctx, over)
}

// Pause refuses new connections until [Server.Resume]. The existing ones stay.
func (s *Server) Pause() { s.setPaused(true) }

// Resume accepts new connections again.
func (s *Server) Resume() { s.setPaused(false) }

func (s *Server) setPaused(paused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused = paused
}

// allConns returns the connections of which anything is left.
func (s *Server) allConns() []*conn {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Collect(maps.Values(s.conns))
}

func (s *Server) endInWaves(ctx context.Context, over time.Duration) {
	conns := s.allConns()
	rand.Shuffle(len(conns), func(i, j int) { conns[i], conns[j] = conns[j], conns[i] })
	waves := max(min(int(over/drainWave), len(conns)), 1)
	pause := over / time.Duration(waves)
	for wave := range slices.Chunk(conns, max((len(conns)+waves-1)/waves, 1)) {
		for _, c := range wave {
			c.end(ReasonShutdown, flush)
		}
		select {
		case <-time.After(pause/2 + rand.N(pause+1)): // as long as pause, on average
		case <-ctx.Done():
			return
		}
	}
}
