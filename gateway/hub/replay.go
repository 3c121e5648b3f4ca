package hub

import (
	"context"
	"errors"
	"log/slog"

	"github.com/codewar/socketbridge/bridge"
)

// replay gives the socket a batch of its history and what follows it, in batches of size messages,
// until it has caught up with the live messages, or its mapping is not the token's any more. Before
// each message wait returns when fewer than room bytes are queued, or ends the replay. After an
// error of the history batch says where to continue.
func (h *Hub) replay(ctx context.Context, s *socket, user bridge.UserID, token string, size int, batch *bridge.Replay, wait func(room int) error) error {
	for {
		if s.gap(batch) {
			h.sendGap(s, batch.From)
		}
		for _, e := range batch.Entries {
			if err := wait(h.room(e)); errors.Is(err, errNotDrained) {
				return err
			} else if err != nil || s.deliverReplay(e, token) != nil {
				return errUnmapped
			}
		}
		more := batch.More
		if !more {
			s.endOfHistory(token, batch)
		}
		*batch = bridge.Replay{More: true}
		if !more && s.endReplay(token) {
			return nil
		}
		after, ok := s.nextBatch(token)
		if !ok {
			return errUnmapped
		}
		next, err := h.history.Read(ctx, bridge.HistoryQuery{User: user, After: after, Limit: size})
		if err != nil {
			return err
		}
		*batch = next
	}
}

// room is how few bytes must be queued before a replayed message may follow. A client that reads
// must not be closed as slow because its history is longer than its queue.
func (h *Hub) room(e *bridge.Envelope) int {
	const around = 1 << 10 // topic, offset and frame
	return max(min(h.cfg.MaxPending/2, h.cfg.MaxPending-len(e.Payload)-around), 1)
}

// sendGap tells the client that it has missed messages after an offset which are no longer kept, or
// which cannot be told from those that it has, so that it can load its state again.
func (h *Hub) sendGap(s *socket, after bridge.Offset) {
	h.metrics.gaps.Inc()
	err := s.conn.Emit("error", clientError{
		Type:    "HISTORY_GAP",
		Message: "Messages were missed that are no longer kept; load the current state again",
		Details: map[string]any{"after": after},
	})
	if err != nil {
		h.log.LogAttrs(context.Background(), slog.LevelDebug, "gap not told", slog.String("socket", s.conn.ID()), slog.Any("err", err))
	}
}
