package hub

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

const (
	// renewWithin is how long a registration that the store has lost stays lost, when
	// nothing else tells of the loss.
	renewWithin = 30 * time.Second
	// renewChunk is how many registrations go into one round trip. Only one is under way, so
	// that clients that come meanwhile wait for a few milliseconds at most.
	renewChunk = 100
)

// runRenewals makes sure of every registration and session, one shard after the other, so
// that the store gets them at a steady rate. It asks nothing of what the store believes: a
// store that went back to an earlier state believes that all is well.
func (h *Hub) runRenewals(ctx context.Context) {
	within := cmp.Or(h.cfg.RenewEvery, renewWithin)
	if h.cfg.SessionTTL > 0 {
		within = min(within, h.cfg.SessionTTL/sessionSaves)
	}
	turn := 0
	h.everyTick(ctx, max(within/time.Duration(len(h.shards)), time.Millisecond), func(ctx context.Context) {
		sockets := h.shards[turn].all(nil)
		turn = (turn + 1) % len(h.shards)
		if err := h.renew(ctx, sockets); err != nil {
			h.log.LogAttrs(ctx, slog.LevelDebug, "registrations not renewed", slog.Any("err", err))
			return // their turn comes again
		}
		h.saveSessions(ctx, sockets)
	})
}

// Rejoined makes sure of every socket's registration and session, after the store has lost
// or written off some of this node's, and brings each socket up to date. The order is
// random: when it fails half-way each time, no socket is always among the last. After an
// error it is to be called again.
func (h *Hub) Rejoined(ctx context.Context) error {
	h.rejoins.Add(1)
	sockets := h.all()
	rand.Shuffle(len(sockets), func(i, j int) { sockets[i], sockets[j] = sockets[j], sockets[i] })
	for _, s := range sockets {
		s.pauseLive()
	}
	err := h.renew(ctx, sockets)
	if err == nil {
		h.saveSessions(ctx, sockets)
	}
	h.requestReplays()
	return err
}

// renew makes sure of registrations, a chunk after the other. Sockets whose registration was
// lost are brought up to date: messages may have found nobody.
func (h *Hub) renew(ctx context.Context, sockets []*socket) error {
	for some := range slices.Chunk(sockets, renewChunk) {
		now := time.Now()
		renewals, of := make([]bridge.Renewal, 0, len(some)), make([]*socket, 0, len(some))
		for _, s := range some {
			if r, registered := s.renewal(now); registered {
				renewals, of = append(renewals, r), append(of, s)
			}
		}
		if len(renewals) == 0 {
			continue
		}
		lost, err := h.store.Renew(ctx, renewals)
		found := 0
		for i, s := range of {
			r := renewals[i]
			if now, registered := s.renewal(now); !registered || now.Token != r.Token {
				// It left meanwhile, and its removal may have come first.
				h.removals.add(unregistration{r: bridge.Registration{User: r.User, Socket: r.Socket, Token: r.Token}})
			}
			if err == nil && lost[i] {
				s.pauseLive()
				found++
			}
		}
		if err != nil {
			return err
		}
		if found > 0 {
			h.renewed.Add(uint64(found))
			h.requestReplays()
		}
	}
	return nil
}
