package store

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/codewar/socketbridge/bridge"
)

// usersPerCall is how many users' messages go into one script call: enough that
// the cost of starting a script is spread, few enough that one call holds the
// server for well under a millisecond. In a Cluster it is one, because users
// live in different slots.
const usersPerCall = 32

// Append sends the whole batch in one round trip. The entries of a user go into
// one script call: should the batch fail in the middle, a user's later message is
// never appended without the earlier one, which would then be refused for ever.
//
// Entries of one user must be in the order of their offsets. Results of one
// user share their Sockets.
func (r *Redis) Append(ctx context.Context, entries []bridge.Entry) (out []bridge.Appended, err error) {
	if len(entries) == 0 {
		return nil, nil
	}
	err = r.do(ctx, "append", func(ctx context.Context) error {
		m, err := r.members(ctx)
		if err != nil {
			return err
		}
		var calls []*redis.StringSliceCmd
		runs := r.runs(entries)
		for some := range slices.Chunk(runs, r.usersPerCall) {
			calls = append(calls, r.appendCall(ctx, some, entries, m))
		}
		if err := r.run(ctx, calls...); err != nil {
			return err
		}
		out, err = r.appended(ctx, m, entries, runs, calls)
		return err
	})
	return out, err
}

// userRun is one user's entries in a batch.
type userRun struct {
	keys    userKeys
	entries []int // their indexes, in order
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
		runs[at].entries = append(runs[at].entries, i)
	}
	return runs
}

// appendCall makes the script call for some users: see append.lua.
func (r *Redis) appendCall(ctx context.Context, users []userRun, entries []bridge.Entry, m *roster) *redis.StringSliceCmd {
	size, only := 8, false
	for _, u := range users {
		size += 4 + 4*len(u.entries)
		only = only || slices.ContainsFunc(u.entries, func(i int) bool { return entries[i].OnlyIfPresent })
	}
	args := make([]any, 0, size)
	args = append(args, evalsha, appendScript.hash, 3*len(users))
	for _, u := range users {
		args = append(args, u.keys.history, u.keys.last, u.keys.presence)
	}
	args = append(args, r.args.maxPerUser, r.args.historyTTL, r.args.marksTTL)
	if only {
		args = append(args, m.live, m.joins)
	} else {
		args = append(args, none, none)
	}
	for _, u := range users {
		args = append(args, len(u.entries))
		for _, i := range u.entries {
			e, flag := entries[i], none
			if e.OnlyIfPresent {
				flag = yes
			}
			args = append(args, e.Offset.String(), e.Topic, e.Payload, flag)
		}
	}
	return redis.NewStringSliceCmd(ctx, args...)
}

// appended reads what append.lua answered.
func (r *Redis) appended(ctx context.Context, m *roster, entries []bridge.Entry, runs []userRun, calls []*redis.StringSliceCmd) ([]bridge.Appended, error) {
	out := make([]bridge.Appended, len(entries))
	s := seer{r: r, roster: m, now: time.Now(), slab: make([]bridge.Presence, 0, len(runs))}
	for i, users := range slices.Collect(slices.Chunk(runs, r.usersPerCall)) {
		reply := calls[i].Val()
		for _, u := range users {
			letters, befores, hash, rest, ok := cutAppended(reply)
			if !ok || len(letters) != len(u.entries) {
				return nil, errAnswer
			}
			c := chain{rest: befores}
			last := c.next()
			reply = rest
			sockets, err := s.sockets(ctx, u.keys.presence, hash)
			if err != nil {
				return nil, err
			}
			for j, at := range u.entries {
				a := bridge.Appended{Sockets: sockets, Refused: letters[j] == 'r', Absent: letters[j] == 'a'}
				switch letters[j] {
				case 'k':
					a.Before, last = last, entries[at].Offset
				case 'r':
					a.Before = c.next()
				}
				out[at] = a
			}
			if c.bad {
				return nil, errAnswer
			}
		}
	}
	return out, nil
}

// cutAppended takes one user's part off an answer.
func cutAppended(reply []string) (letters, befores string, hash, rest []string, ok bool) {
	if len(reply) < 3 {
		return "", "", nil, nil, false
	}
	n, err := strconv.Atoi(reply[2])
	if err != nil || n < 0 || n > len(reply)-3 {
		return "", "", nil, nil, false
	}
	return reply[0], reply[1], reply[3 : 3+n], reply[3+n:], true
}

// chain takes offsets off a text with spaces between.
type chain struct {
	rest string
	bad  bool
}

func (c *chain) next() bridge.Offset {
	text, rest, _ := strings.Cut(c.rest, " ")
	o, err := bridge.ParseOffset(text)
	c.rest, c.bad = rest, c.bad || err != nil
	return o
}
