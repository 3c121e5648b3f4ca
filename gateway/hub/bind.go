package hub

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// bindBatch is how many messages of a history a bind reads at once: a few round trips for the
// longest history, and bounded memory for each.
const bindBatch = 200

var (
	// errTooManySockets refuses a socket of a user who has as many as are allowed.
	errTooManySockets = errors.New("user has too many sockets")
	// errUnmapped ends a bind or a replay whose socket has closed or has another mapping.
	errUnmapped = errors.New("socket is no longer this user's")
)

// bind maps a socket to a user and replays what it has missed. It registers the socket and its
// session in the store before it asks for the history, as [bridge.History] requires. When it
// returns without an error, every message that is routed from then on is pushed. c says what the
// client has already; nil: the socket begins at the user's inbox. While the store or the leader
// is away bind retries, and calls away once that lasts. It fails only when ctx, the socket's,
// ends, and with errTooManySockets. The client's cursor is sent with the next Flush.
func (h *Hub) bind(ctx context.Context, s *socket, user bridge.UserID, c *claim, away func()) error {
	h.unbind(s)
	if pid := clientSessionID(user, s.chosen); pid != "" && c == nil {
		h.left.back(pid)
		err := h.retry(ctx, away, func() (err error) {
			c, err = h.continued(ctx, pid, user)
			return err
		})
		if err != nil {
			return err
		}
	}
	local := h.delivered(user)
	s.bind(user, &h.shard(user).dirty, &h.cursors)
	h.add(user, s) // before the store knows, so that nothing it routes here is dropped
	r := s.registration()
	h.left.back(s.conn.PID())
	r.PID = s.conn.PID() // a node that is killed cannot save the session at its end
	q := bridge.HistoryQuery{User: user, Limit: bindBatch, Inbox: c == nil || c.unknown}
	if !q.Inbox {
		q.After = c.after
	}
	batch, err := h.begin(ctx, s, r, &q, away)
	if errors.Is(err, errTooManySockets) {
		h.unbind(s)
		h.dropSession(user, s.conn.PID())
	}
	if err != nil {
		return err
	}
	if q.Inbox {
		s.startAt(q.After, reach(q.After, local)) // the store learns of it a moment later than the hub
	} else {
		s.startAt(received(q.After, &batch), q.After)
	}
	h.saveProgressOf(s)
	if c != nil && q.Inbox {
		h.sendGap(s, c.after)
	}
	wait := func(room int) error { return s.conn.WaitDrained(ctx, room) }
	return h.retry(ctx, away, func() error { return h.replay(ctx, s, user, r.Token, bindBatch, &batch, wait) })
}

// begin registers the socket and reads the first batch after the client's claim, or at the inbox.
// A claim that the stream has never reached is ignored: the socket then begins at the inbox, and
// q says so. Nearly always the batch shows that the stream has reached it. A batch of a leader
// that is behind the one before does not; then the stream is asked.
func (h *Hub) begin(ctx context.Context, s *socket, r bridge.Registration, q *bridge.HistoryQuery, away func()) (batch bridge.Replay, err error) {
	h.binding.Add(1)
	defer h.binding.Add(-1)
	found, err := h.register(ctx, s, r, away)
	if err != nil {
		return batch, err
	}
	if q.Inbox {
		q.After = found.Delivered
	}
	for {
		reached := true
		err = h.retry(ctx, away, func() (err error) {
			batch, err = h.history.Read(ctx, *q)
			if err == nil && h.cfg.Stream != nil && q.After.After(batch.Horizon) {
				reached, err = h.cfg.Stream.Reaches(ctx, q.After)
			}
			return err
		})
		switch {
		case err != nil || reached:
			return batch, err
		case !q.Inbox:
			q.Inbox, q.After = true, found.Delivered
		default: // the store belongs to another stream: no message of this one would be after that offset
			q.After = bridge.Offset{}
		}
	}
}

// received is where the [bridge.Delivered] ranges of a socket begin whose client claims everything
// up to after. Claims are not evidence, so the ranges begin at the last message that the claim
// covers, or at an offset with no message between.
func received(after bridge.Offset, batch *bridge.Replay) bridge.Offset {
	if after.After(batch.Last) || batch.Before.After(after) {
		return after // the leader may not have all messages yet, or no longer
	}
	return batch.Before
}

// reach extends a delivered offset by the ranges that sockets were given.
func reach(taken bridge.Offset, given []bridge.Delivered) bridge.Offset {
	for _, d := range given {
		if !d.From.After(taken) {
			taken = taken.Max(d.To)
		}
	}
	return taken
}

// register records the socket in the store, unless the user has too many. The oldest sockets
// stay: however many connect at the same time, on any nodes, as many as allowed remain. While the
// store is away the socket goes on unregistered and is registered later; found is then empty.
func (h *Hub) register(ctx context.Context, s *socket, r bridge.Registration, away func()) (found bridge.Registered, err error) {
	err = h.retry(ctx, away, func() (err error) {
		found, err = h.store.Register(ctx, r)
		if err != nil && ctx.Err() == nil && h.goUnregistered(s, err) {
			found, err = bridge.Registered{}, nil
			return nil
		}
		if err == nil && found.Replaced.Node != "" && h.cfg.Peers != nil {
			h.notifyReplaced(found.Replaced)
		}
		if err != nil || h.cfg.MaxPerUser <= 0 || found.Sockets <= h.cfg.MaxPerUser {
			return err
		}
		sockets, err := h.locate(ctx, r.User)
		if err != nil {
			return err
		}
		own := func(p bridge.Presence) bool { return p.Socket == r.Socket }
		if slices.IndexFunc(sockets, own) >= h.cfg.MaxPerUser {
			return errTooManySockets
		}
		return nil
	})
	return found, err
}

// delayedAfter is how long op of [Hub.retry] fails before the client is told. A change of the
// leader or of a Redis master takes less, so clients do not notice it.
const delayedAfter = 3 * time.Second

// retry repeats op with back-off until it succeeds, the socket is gone or refused, or ctx ends.
// Other errors come from the store, the history or the stream. It calls away once when op has
// failed for delayedAfter.
func (h *Hub) retry(ctx context.Context, away func(), op func() error) error {
	begun := time.Now()
	wait := bridge.Backoff{First: 50 * time.Millisecond, Most: time.Second}
	for {
		err := op()
		if err == nil || errors.Is(err, errUnmapped) || errors.Is(err, errTooManySockets) {
			return err
		}
		if away != nil && time.Since(begun) >= delayedAfter {
			away()
			away = nil
		}
		select {
		case <-time.After(wait.Next()):
		case <-ctx.Done():
			return errUnmapped
		}
	}
}

// delivered returns what the user's sockets on this node were given.
func (h *Hub) delivered(user bridge.UserID) (given []bridge.Delivered) {
	for _, s := range h.of(user) {
		if d, ok := s.deliveredTo(user); ok {
			given = append(given, d)
		}
	}
	return given
}

// unbind ends the socket's mapping, if it has one. While the store is away the removal is
// retried.
func (h *Hub) unbind(s *socket) {
	h.saveProgressOf(s)
	r, given := s.unbind()
	if r.User == "" {
		return
	}
	h.remove(r.User, s)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := h.store.Unregister(ctx, r, given); err != nil {
		h.removals.add(unregistration{r, given})
	}
}
