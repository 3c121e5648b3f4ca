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

// Drain takes no new connections and lets those there are go in waves spread over
// that long, in random order, so that their clients, which reconnect at once, do
// not all reach the other nodes in the same moment. Each gets what was queued for
// it. When ctx ends the rest stay open; [Server.Close] ends them.
func (s *Server) Drain(ctx context.Context, over time.Duration) {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.letGo(ctx, over)
}

// Evacuate does the same but takes connections again after [Server.Resume].
func (s *Server) Evacuate(ctx context.Context, over time.Duration) {
	s.Pause()
	s.letGo(ctx, over)
}

// Pause takes no new connections until [Server.Resume], and keeps those there are.
func (s *Server) Pause() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = true
}

// Resume takes new connections again.
func (s *Server) Resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = false
}

func (s *Server) letGo(ctx context.Context, over time.Duration) {
	s.mu.RLock()
	conns := slices.Collect(maps.Values(s.conns))
	s.mu.RUnlock()
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
