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

// bind maps a socket to a user and replays what it has missed: registered in the store
// first, with its session, the history asked after that, as [bridge.History] wants it. When it
// returns without an error, every message that is looked up from then on is pushed. c says what
// the client has already; nil: the socket begins at the user's inbox. While the store is away, or
// no leader can be asked, bind tries again, and away is called once that lasts; it gives up only
// when ctx, the socket's, ends, and with errTooManySockets.
// What the client is told of its offset goes out with the next Flush.
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
	page, err := h.begin(ctx, s, r, &q, away)
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
		s.startAt(received(q.After, &page), q.After)
	}
	h.saveProgressOf(s)
	if c != nil && q.Inbox {
		h.sendGap(s, c.after)
	}
	wait := func(room int) error { return s.conn.WaitDrained(ctx, room) }
	return h.retry(ctx, away, func() error { return h.replay(ctx, s, user, r.Token, bindBatch, &page, wait) })
}

// begin registers the socket and reads the first page after what the client claims, or at the
// inbox. A claim that the stream has never come as far as is no claim: the socket then begins
// at the inbox, and q says so. Nearly always the page tells that the stream has; a leader
// that is behind the one before it does not, and only the stream itself knows.
func (h *Hub) begin(ctx context.Context, s *socket, r bridge.Registration, q *bridge.HistoryQuery, away func()) (page bridge.Replay, err error) {
	h.binding.Add(1)
	defer h.binding.Add(-1)
	found, err := h.register(ctx, s, r, away)
	if err != nil {
		return page, err
	}
	if q.Inbox {
		q.After = found.Delivered
	}
	for {
		reached := true
		err = h.retry(ctx, away, func() (err error) {
			page, err = h.history.Read(ctx, *q)
			if err == nil && h.cfg.Stream != nil && q.After.After(page.Horizon) {
				reached, err = h.cfg.Stream.Reaches(ctx, q.After)
			}
			return err
		})
		switch {
		case err != nil || reached:
			return page, err
		case !q.Inbox:
			q.Inbox, q.After = true, found.Delivered
		default: // the store is of another stream, and nothing of this one would be after that
			q.After = bridge.Offset{}
		}
	}
}

// received is up to where the user's messages need not have been given to the socket
// although its client claims everything up to after: the last message that the claim covers, or
// an offset with none between. Claims are not evidence, so [bridge.Delivered] ranges of
// the socket begin there.
func received(after bridge.Offset, page *bridge.Replay) bridge.Offset {
	if after.After(page.Last) || page.Before.After(after) {
		return after // the leader may not have all of them yet, or no longer
	}
	return page.Before
}

// reach follows a delivered offset through what sockets were given.
func reach(taken bridge.Offset, given []bridge.Delivered) bridge.Offset {
	for _, d := range given {
		if !d.From.After(taken) {
			taken = taken.Max(d.To)
		}
	}
	return taken
}

// register records the socket in the store, unless the user has too many. The
// oldest stay: however many come at once, on any nodes, as many as allowed are left. While
// the store is away the socket goes on without, and is registered later; nothing is found then.
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

// delayedAfter is for how long op of [Hub.retry] fails before the client is told: a change of the
// leader or of a Redis master is over by then, and clients do not notice it.
const delayedAfter = 3 * time.Second

// retry repeats op, whose errors come from the store, the history or the stream, until it
// succeeds, the socket is gone or refused, or ctx ends. It calls away once when that takes longer
// than delayedAfter.
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

// delivered is what the user's sockets on this node were given.
func (h *Hub) delivered(user bridge.UserID) (given []bridge.Delivered) {
	for _, s := range h.of(user) {
		if d, ok := s.deliveredTo(user); ok {
			given = append(given, d)
		}
	}
	return given
}

// unbind ends the socket's mapping, if it has one. The store may be away: the
// removal is then tried again until it is done.
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
