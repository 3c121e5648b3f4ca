package hub

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// A resync reads many histories at once, as many as the leader may be asked for at a time, in small
// batches: nearly all sockets have missed little or nothing, and live messages wait for them.
const (
	resyncWorkers = 256
	resyncBatch   = 16
)

// unregistration is a registration that ended while the store was away.
type unregistration struct {
	r     bridge.Registration
	given bridge.Delivered
}

// unregistrations wait until the store answers again. At most maxGone are kept; others are removed
// with the node's lease.
type unregistrations struct {
	mu   sync.Mutex
	list []unregistration
}

const maxGone = 100_000

func (u *unregistrations) add(items ...unregistration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if room := maxGone - len(u.list); len(items) > room {
		items = items[:room]
	}
	u.list = append(u.list, items...)
}

func (u *unregistrations) takeAll() []unregistration {
	u.mu.Lock()
	defer u.mu.Unlock()
	list := u.list
	u.list = nil
	return list
}

// Run does the work in the background until ctx ends: it records delivered offsets, repeats failed
// removals, renews registrations and sessions, and runs the replays that [Hub.Resync] and others
// request.
func (h *Hub) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { h.runOffsetFlush(ctx) })
	wg.Go(func() { h.runRenewals(ctx) })
	wg.Go(func() { h.everyTick(ctx, registerMissingEvery, h.registerMissing) })
	wg.Go(func() {
		for {
			select {
			case <-h.resyncs:
				_ = h.retry(ctx, nil, func() error { return h.runReplays(ctx) })
			case <-ctx.Done():
				return
			}
		}
	})
	wg.Wait()
	h.draining.Wait()
	h.notifying.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	h.flush(last)
}

func (h *Hub) everyTick(ctx context.Context, every time.Duration, do func(context.Context)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			do(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// runOffsetFlush records delivered offsets, a part of the shards at a time, and repeats failed
// removals.
func (h *Hub) runOffsetFlush(ctx context.Context) {
	turn := 0
	h.everyTick(ctx, offsetFlushEvery/offsetFlushSlots, func(ctx context.Context) {
		const each = len(h.shards) / offsetFlushSlots
		h.flushOffsets(ctx, h.shards[turn*each:(turn+1)*each], offsetFlushMax)
		if turn = (turn + 1) % offsetFlushSlots; turn == 0 {
			h.removeGone(ctx)
		}
	})
}

// flush does all of that once.
func (h *Hub) flush(ctx context.Context) {
	for i := range h.shards {
		h.flushOffsets(ctx, h.shards[i:i+1], math.MaxInt)
	}
	h.removeGone(ctx)
}

// removeGone repeats failed removals, many at a time, until one fails again.
func (h *Hub) removeGone(ctx context.Context) {
	gone := h.removals.takeAll()
	for len(gone) > 0 {
		some := gone[:min(len(gone), 128)]
		failed := make([]bool, len(some))
		var wg sync.WaitGroup
		for i, u := range some {
			wg.Go(func() { failed[i] = h.store.Unregister(ctx, u.r, u.given) != nil })
		}
		wg.Wait()
		gone = gone[len(some):]
		if !slices.Contains(failed, true) {
			continue
		}
		for i, u := range some {
			if failed[i] {
				h.removals.add(u)
			}
		}
		h.removals.add(gone...)
		return
	}
}

// saveSessions saves the sessions of these sockets again before they expire.
func (h *Hub) saveSessions(ctx context.Context, sockets []*socket) {
	const chunk = 250
	sessions := make(map[string]bridge.Session, chunk)
	save := func() {
		if err := h.store.SaveSessions(ctx, sessions); err != nil {
			h.log.LogAttrs(ctx, slog.LevelWarn, "sessions not kept alive", slog.Int("sessions", len(sessions)), slog.Any("err", err))
		}
		clear(sessions)
	}
	for _, s := range sockets {
		if session := s.session(); s.conn.PID() != "" && session.User != "" {
			sessions[s.conn.PID()] = session
		}
		h.saveProgressOf(s)
		if len(sessions) >= chunk {
			save()
		}
	}
	if len(sessions) > 0 {
		save()
	}
}

// Resync requests a replay for every socket, because a message that was forwarded to this node may
// have been lost, or there is another leader. Live messages wait from the moment it returns, so
// that they cannot overtake a lost one; an answer to an earlier question does not let them
// through. [Hub.Run] reads the histories.
func (h *Hub) Resync() {
	for _, s := range h.all() {
		s.pauseLive()
	}
	h.requestReplays()
}

// requestReplays has [Hub.Run] run the replay of every socket that waits for one.
func (h *Hub) requestReplays() {
	select {
	case h.resyncs <- struct{}{}:
	default: // one is requested already, and includes these sockets
	}
}

// runReplays runs the replay of every socket that waits for one.
func (h *Hub) runReplays(ctx context.Context) error {
	return h.each(ctx, func(reading context.Context, s *socket) error {
		user, token, ok := s.claimReplay()
		if !ok {
			return nil
		}
		below := h.cfg.MaxPending / 4
		err := h.replay(reading, s, user, token, resyncBatch, &bridge.Replay{More: true}, func(room int) error {
			if s.conn.Pending() < room {
				return nil
			}
			below = min(below, room)
			return errNotDrained
		})
		if errors.Is(err, errNotDrained) {
			h.resumeWhenDrained(ctx, s, token, below)
			return nil
		}
		h.Flush()
		if err != nil {
			s.dropReplay(token)
		}
		return err
	})
}

// errNotDrained ends a replay whose client has not read what is queued for it.
var errNotDrained = errors.New("client is behind")

// resumeWhenDrained continues the socket's replay once fewer than so many bytes are queued for it.
// Its goroutine holds no messages: clients that do not read take neither a worker nor memory from
// the others.
func (h *Hub) resumeWhenDrained(ctx context.Context, s *socket, token string, below int) {
	h.draining.Go(func() {
		if s.conn.WaitDrained(ctx, below) != nil {
			return // it is closed, or the hub is stopping
		}
		s.dropReplay(token)
		h.requestReplays()
	})
}

// each calls do for every socket, several at a time, and stops at the first error of the history.
func (h *Hub) each(ctx context.Context, do func(context.Context, *socket) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	work := make(chan *socket)
	var wg sync.WaitGroup
	for range resyncWorkers {
		wg.Go(func() {
			for s := range work {
				if err := do(ctx, s); err != nil && !errors.Is(err, errUnmapped) {
					stop(err)
				}
			}
		})
	}
	for _, s := range h.all() {
		select {
		case work <- s:
		case <-ctx.Done():
		}
	}
	close(work)
	wg.Wait()
	return context.Cause(ctx)
}
