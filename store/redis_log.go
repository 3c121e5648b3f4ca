package store

import (
	"context"
	"fmt"
	"strconv"

	"github.com/codewar/socketbridge/bridge"
)

// Withdraw removes an entry that no socket took. It goes by the mark that every
// registration leaves, not by comparing sockets: that also knows of a socket
// that has come, read the entry, and gone.
func (r *Redis) Withdraw(ctx context.Context, user bridge.UserID, at bridge.Offset) (gone bool, err error) {
	k := r.keys.user(user)
	err = r.do(ctx, "withdraw", func(ctx context.Context) error {
		c := withdrawScript.call(ctx, []string{k.history, k.last, k.marks}, at.String(), r.args.marksTTL)
		if err := r.run(ctx, c); err != nil {
			return err
		}
		gone = len(c.Val()) == 1 && c.Val()[0] == "1"
		return nil
	})
	return gone, err
}

// Read returns the next messages of a user after an offset.
func (r *Redis) Read(ctx context.Context, user bridge.UserID, after bridge.Offset, limit int) (page bridge.Replay, err error) {
	k := r.keys.user(user)
	err = r.do(ctx, "read", func(ctx context.Context) error {
		c := readScript.call(ctx, []string{k.history, k.last, k.marks}, after.String(), fetch(limit))
		if err := r.together(ctx, c); err != nil {
			return err
		}
		page, err = parsePage(c.Val(), user, &after, limit)
		return err
	})
	return page, err
}

// fetch is how many messages to ask for: one beyond the limit tells whether there is more.
func fetch(limit int) int { return max(limit, 0) + 1 }

// parsePage reads what page.lua wrote. after is nil for a page that starts at
// the inbox: its reader was promised nothing, so there is no gap.
func parsePage(reply []string, user bridge.UserID, after *bridge.Offset, limit int) (bridge.Replay, error) {
	const head = 3 // last, from, predecessor; then three elements an entry
	if len(reply) < head || len(reply)%3 != 0 {
		return bridge.Replay{}, errAnswer
	}
	last, err1 := bridge.ParseOffset(reply[0])
	from, err2 := bridge.ParseOffset(reply[1])
	before, err3 := bridge.ParseOffset(reply[2])
	if err1 != nil || err2 != nil || err3 != nil {
		return bridge.Replay{}, fmt.Errorf("page: marks %q: %w", reply[:head], bridge.ErrOffset)
	}
	rows := reply[head:]
	if len(rows) == 0 {
		before = last
	}
	page := bridge.Replay{From: from, Last: last, Before: before, Gap: after != nil && before.After(from)}
	n := min(len(rows)/3, max(limit, 0))
	page.More = len(rows)/3 > n
	for i := range n {
		at, err := bridge.ParseOffset(rows[3*i])
		if err != nil {
			return bridge.Replay{}, fmt.Errorf("page: entry %s: %w", strconv.Quote(rows[3*i]), err)
		}
		page.Entries = append(page.Entries, &bridge.Envelope{
			User: user, Topic: rows[3*i+1], Payload: []byte(rows[3*i+2]), Offset: at,
		})
	}
	return page, nil
}
