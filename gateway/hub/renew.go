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
	// renewWithin is how long a lost registration stays lost when nothing else reveals the loss.
	renewWithin = 30 * time.Second
	// renewChunk is how many registrations go into one round trip. Only one round trip is under way,
	// so that new clients wait a few milliseconds at most.
	renewChunk = 100
)

// runRenewals renews every registration and session, one shard after the other, so that the store
// gets them at a steady rate. It does not ask the store what is missing: a store that went back
// to an earlier state does not know.
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
			return // they are renewed in the next round
		}
		h.saveSessions(ctx, sockets)
	})
}

// Rejoined renews every socket's registration and session after the store has lost some of this
// node's or has written it off, and requests a replay for each socket. The order is random, so
// that no socket is always last when it fails half-way. After an error it must be called again.
func (h *Hub) Rejoined(ctx context.Context) error {
	h.metrics.rejoins.Inc()
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

// renew renews registrations in chunks. It requests a replay for sockets whose registration was
// lost: their messages may have been routed to no socket.
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
			h.metrics.renewed.Add(float64(found))
			h.requestReplays()
		}
	}
	return nil
}
