package store

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/codewar/socketbridge/bridge"
)

// Append sends the whole batch in one round trip. All entries of a user go into
// one script call: should the batch fail in the middle, a user's later message is
// never appended without the earlier one, which would then be refused for ever.
// Entries of one user must be in the order of their offsets.
func (r *Redis) Append(ctx context.Context, entries []bridge.Entry) (out []bridge.Appended, err error) {
	if len(entries) == 0 {
		return nil, nil
	}
	err = r.do(ctx, "append", func(ctx context.Context) error {
		m, err := r.members(ctx)
		if err != nil {
			return err
		}
		runs := r.runs(entries)
		calls := make([]*redis.StringSliceCmd, len(runs))
		for i := range runs {
			calls[i] = r.appendCall(ctx, &runs[i], entries, m)
		}
		if err := r.run(ctx, calls...); err != nil {
			return err
		}
		out, err = r.appended(ctx, m, runs, calls, len(entries))
		return err
	})
	return out, err
}

// userRun is one user's entries in a batch.
type userRun struct {
	keys    userKeys
	entries []int // their indexes, in order
	only    bool  // some are OnlyIfPresent
}

// runs sorts a batch by user, each user at the place of its first entry.
func (r *Redis) runs(entries []bridge.Entry) []userRun {
	runs := make([]userRun, 0, len(entries))
	place := make(map[bridge.UserID]int, len(entries))
	indexes := make([]int, len(entries)) // one element for each user's first entry
	for i, e := range entries {
		at, known := place[e.User]
		if !known {
			at = len(runs)
			place[e.User] = at
			runs = append(runs, userRun{keys: r.keys.user(e.User), entries: indexes[i : i : i+1]})
		}
		u := &runs[at]
		u.entries = append(u.entries, i)
		u.only = u.only || e.OnlyIfPresent
	}
	return runs
}

// Arguments of the append script, boxed once.
var (
	none any = ""
	yes  any = "1"
)

func (r *Redis) appendCall(ctx context.Context, u *userRun, entries []bridge.Entry, m *roster) *redis.StringSliceCmd {
	live, joins := none, none
	if u.only {
		live, joins = m.live, m.joins
	}
	args := make([]any, 0, 11+4*len(u.entries))
	args = append(args, evalsha, appendScript.hash, keyCount[3], u.keys.history, u.keys.marks, u.keys.presence,
		r.args.maxPerUser, r.args.historyTTL, r.args.marksTTL, live, joins)
	for _, i := range u.entries {
		e, only := entries[i], none
		if e.OnlyIfPresent {
			only = yes
		}
		args = append(args, e.Offset.String(), e.Topic, e.Payload, only)
	}
	return redis.NewStringSliceCmd(ctx, args...)
}

// appended reads what append.lua answered for each user.
func (r *Redis) appended(ctx context.Context, m *roster, runs []userRun, calls []*redis.StringSliceCmd, n int) ([]bridge.Appended, error) {
	out := make([]bridge.Appended, n)
	s := seer{r: r, roster: m, now: time.Now(), slab: make([]bridge.Presence, 0, len(calls))}
	for i, c := range calls {
		u, reply := &runs[i], c.Val()
		if len(reply)%2 != 1 || len(reply[len(reply)-1]) != len(u.entries) {
			return nil, fmt.Errorf("append: %d elements for %d entries", len(reply), len(u.entries))
		}
		hash, letters := reply[:len(reply)-1], reply[len(reply)-1]
		sockets, err := s.sockets(ctx, u.keys.presence, hash)
		if err != nil {
			return nil, err
		}
		for j, at := range u.entries {
			out[at] = bridge.Appended{Sockets: sockets, Refused: letters[j] == 'r', Absent: letters[j] == 'a'}
		}
	}
	return out, nil
}

// Withdraw removes an entry that no socket took. It goes by the mark that every
// registration leaves, not by comparing sockets: that also knows of a socket
// that has come, read the entry, and gone.
func (r *Redis) Withdraw(ctx context.Context, user bridge.UserID, at bridge.Offset, _ []bridge.Presence) (gone bool, err error) {
	k := r.keys.user(user)
	err = r.do(ctx, "withdraw", func(ctx context.Context) error {
		c := withdrawScript.call(ctx, []string{k.history, k.marks}, at.String())
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
		c := readScript.call(ctx, []string{k.history, k.marks}, after.String(), fetch(limit))
		if err := r.run(ctx, c); err != nil {
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
		return bridge.Replay{}, fmt.Errorf("page: %d elements", len(reply))
	}
	last, err1 := bridge.ParseOffset(reply[0])
	from, err2 := bridge.ParseOffset(reply[1])
	before, err3 := bridge.ParseOffset(reply[2])
	if err1 != nil || err2 != nil || err3 != nil {
		return bridge.Replay{}, fmt.Errorf("page: marks %q: %w", reply[:head], bridge.ErrOffset)
	}
	page := bridge.Replay{From: from, Last: last}

	rows := reply[head:]
	if len(rows) == 0 {
		page.Gap = after != nil && last.After(from)
	} else {
		page.Gap = after != nil && before.After(from)
	}
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
