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

// appendScript appends for users by the script, in one round trip, and remembers
// where their histories end. unsure says that their last marks may be wrong.
//
// A user's entries go into one call: should the batch fail in the middle, a
// user's later message is never appended without the earlier one, which would
// then be refused for ever.
func (a *appending) appendScript(ctx context.Context, users []userRun, unsure bool) error {
	if len(users) == 0 {
		return nil
	}
	for i := range users {
		if users[i].tail == nil {
			users[i].tail = newTail(a.r.keys.user(users[i].user), bridge.Offset{})
		}
	}
	var calls []*redis.StringSliceCmd
	for some := range slices.Chunk(users, a.r.usersPerCall) {
		calls = append(calls, a.call(ctx, some, unsure))
	}
	if err := a.r.run(ctx, cmders(calls)...); err != nil {
		return err
	}
	for some := range slices.Chunk(users, a.r.usersPerCall) {
		if err := a.read(ctx, some, calls[0].Val()); err != nil {
			return err
		}
		calls = calls[1:]
	}
	return nil
}

// call makes the script call for some users: see append.lua.
func (a *appending) call(ctx context.Context, users []userRun, unsure bool) *redis.StringSliceCmd {
	size, only := 9, false
	for _, u := range users {
		size += 4 + 4*len(u.entries)
		only = only || u.only
	}
	args := make([]any, 0, size)
	args = append(args, evalsha, appendLua.hash, 3*len(users))
	for _, u := range users {
		args = append(args, u.tail.keys.history, u.tail.keys.last, u.tail.keys.presence)
	}
	args = append(args, a.r.args.maxPerUser, a.r.args.historyTTL, a.r.args.marksTTL)
	if only {
		args = append(args, a.seer.roster.live, a.seer.roster.joins)
	} else {
		args = append(args, none, none)
	}
	args = append(args, flag(unsure))
	for _, u := range users {
		args = append(args, len(u.entries))
		for _, i := range u.entries {
			e := &a.entries[i]
			args = append(args, e.Offset.String(), &e.Topic, e.Payload, flag(e.OnlyIfPresent))
		}
	}
	return redis.NewStringSliceCmd(ctx, args...)
}

func flag(set bool) any {
	if set {
		return yes
	}
	return none
}

// read takes what the script answered for some users.
func (a *appending) read(ctx context.Context, users []userRun, reply []string) error {
	for _, u := range users {
		letters, befores, hash, rest, ok := cutAppended(reply)
		if !ok || len(letters) != len(u.entries) {
			return errAnswer
		}
		reply = rest
		c := chain{rest: befores}
		last := c.next()
		sockets, err := a.seer.sockets(ctx, u.tail.keys.presence, hash)
		if err != nil {
			return err
		}
		for j, at := range u.entries {
			found := bridge.Appended{Sockets: sockets, Refused: letters[j] == 'r', Absent: letters[j] == 'a'}
			switch letters[j] {
			case 'k':
				found.Before, last = last, a.entries[at].Offset
			case 'r':
				found.Before = c.next()
			}
			a.out[at] = found
		}
		if c.bad {
			return errAnswer
		}
		u.tail.last, u.tail.text, u.tail.present = last, last.String(), len(sockets) > 0
		u.tail.fresh = time.Time{} // the script sets the time to live without its tenth
		a.r.tails.remember(u.user, u.tail)
	}
	return nil
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
