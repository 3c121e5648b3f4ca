package store

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/codewar/socketbridge/bridge"
)

// Append sends the whole batch in one round trip, after another one for those
// users whose messages are of no use when they are absent. The leader knows by heart
// where most histories end ([tails]), and plain commands do for those. Users it does
// not know yet need the script (append.lua), as does whoever turns out to be
// further than expected.
//
// Entries of one user must be in the order of their offsets. Results of one
// user share their Sockets. Calls wait for each other.
func (r *Redis) Append(ctx context.Context, entries []bridge.Entry) (out []bridge.Appended, err error) {
	if len(entries) == 0 {
		return nil, nil
	}
	err = r.do(ctx, "append", func(ctx context.Context) error {
		if err := r.tails.lock(ctx); err != nil {
			return err
		}
		defer r.tails.unlock()
		m, err := r.members(ctx)
		if err != nil {
			return err
		}
		a := appending{
			r: r, entries: entries, out: make([]bridge.Appended, len(entries)),
			seer: seer{r: r, roster: m, now: time.Now()},
		}
		if err := a.run(ctx); err != nil {
			return err
		}
		out = a.out
		return nil
	})
	return out, err
}

// appending is one call of Append.
type appending struct {
	r       *Redis
	entries []bridge.Entry
	out     []bridge.Appended
	seer    seer
}

// userRun is one user's entries in a batch.
type userRun struct {
	user    bridge.UserID
	tail    *tail // nil when it is not known
	entries []int // their indexes, in order
	only    bool  // one of them is of no use to an absent user
}

func (a *appending) run(ctx context.Context) error {
	var known, repeated, unknown []userRun
	for _, u := range a.runs() {
		switch {
		case u.tail == nil:
			unknown = append(unknown, u)
		case a.entries[u.entries[0]].Offset.After(u.tail.last):
			known = append(known, u)
		default: // it was appended before
			repeated = append(repeated, u)
		}
	}
	a.seer.slab = make([]bridge.Presence, 0, len(a.entries))
	known, err := a.leaveOut(ctx, known)
	if err != nil {
		return err
	}
	refused, err := a.appendKnown(ctx, known)
	if err != nil {
		return err
	}
	if err := a.appendScript(ctx, repeated, false); err != nil {
		return err
	}
	return a.appendScript(ctx, append(unknown, refused...), true)
}

// leaveOut looks up the users who have messages that are of no use when they are
// absent, and takes those messages of absent users out of the runs. Should a user
// leave after this, nobody takes the message and it is withdrawn.
func (a *appending) leaveOut(ctx context.Context, users []userRun) ([]userRun, error) {
	var asked []int
	for i, u := range users {
		if u.only {
			asked = append(asked, i)
		}
	}
	if len(asked) == 0 {
		return users, nil
	}
	found := make([]*redis.StringSliceCmd, len(asked))
	err := a.r.send(ctx, func(p redis.Pipeliner) {
		for j, i := range asked {
			found[j] = redis.NewStringSliceCmd(ctx, "hgetall", users[i].tail.keys.presence)
			_ = p.Process(ctx, found[j]) // only queues
		}
	})
	if err != nil {
		return nil, err
	}
	for j, i := range asked {
		u := &users[i]
		sockets, err := a.seer.sockets(ctx, u.tail.keys.presence, found[j].Val())
		if err != nil {
			return nil, err
		}
		if len(sockets) > 0 {
			continue
		}
		u.entries = slices.DeleteFunc(u.entries, func(at int) bool {
			a.out[at].Absent = a.entries[at].OnlyIfPresent
			return a.out[at].Absent
		})
	}
	return slices.DeleteFunc(users, func(u userRun) bool { return len(u.entries) == 0 }), nil
}

// runs sorts a batch by user, each user at the place of its first entry.
func (a *appending) runs() []userRun {
	runs := make([]userRun, 0, len(a.entries))
	place := make(map[bridge.UserID]int, len(a.entries))
	indexes := make([]int, len(a.entries)) // one element for each user's first entry
	for i, e := range a.entries {
		at, seen := place[e.User]
		if !seen {
			at = len(runs)
			place[e.User] = at
			runs = append(runs, userRun{user: e.User, tail: a.r.tails.find(e.User), entries: indexes[i : i : i+1]})
		}
		runs[at].entries = append(runs[at].entries, i)
		runs[at].only = runs[at].only || e.OnlyIfPresent
	}
	return runs
}

const (
	// entryMessages and entryBytes bound what one entry of a history holds, so
	// that a page of it is read in small steps.
	entryMessages = 32
	entryBytes    = 64 << 10
)

// appendKnown appends for users whose tail is known, and returns those whom Redis
// refused because they are further than that. The last mark is then a lower bound,
// which the script repairs.
func (a *appending) appendKnown(ctx context.Context, users []userRun) (refused []userRun, err error) {
	if len(users) == 0 {
		return nil, nil
	}
	commands := make([]knownAppend, len(users))
	err = a.r.send(ctx, func(p redis.Pipeliner) {
		for i, u := range users {
			commands[i] = a.queue(ctx, p, u)
		}
	})
	if _, answered := errors.AsType[redis.Error](err); err != nil && !answered {
		return nil, err
	}
	if err := a.failed(ctx, users, commands); err != nil {
		return nil, err
	}
	for i, u := range users {
		c := &commands[i]
		if c.refused() {
			a.r.tails.forget(u.user)
			refused = append(refused, u)
			continue
		}
		sockets, err := a.seer.sockets(ctx, u.tail.keys.presence, c.presence.Val())
		if err = errors.Join(c.presence.Err(), err); err != nil {
			return nil, err
		}
		for _, at := range u.entries {
			a.out[at] = bridge.Appended{Sockets: sockets, Before: u.tail.last}
			u.tail.last = a.entries[at].Offset
		}
		u.tail.text, u.tail.fresh = c.last, c.fresh
	}
	return refused, nil
}

// failed returns the error of an entry that Redis refused for another reason than its
// place: no memory, no right to. Such a user's last mark, should Redis have taken
// that one, is set back, so that another leader does not take for appended what is
// not. Its tail stays true, so that trying again needs nothing else.
func (a *appending) failed(ctx context.Context, users []userRun, commands []knownAppend) error {
	var failure error
	var marks []redis.Cmder
	for i, u := range users {
		for _, add := range commands[i].adds {
			if err := add.Err(); err != nil && !misplaced(err) {
				failure = err
				marks = append(marks, redis.NewStatusCmd(ctx, "set", u.tail.keys.last, u.tail.text, "px", a.r.args.marksTTL))
				break
			}
		}
	}
	if failure == nil {
		return nil
	}
	return errors.Join(failure, a.r.sendAll(ctx, marks))
}

// misplaced reports whether an entry may have been refused because the history is
// further. What lacks rights, memory or a master has an error code of its own.
func misplaced(err error) bool { return strings.HasPrefix(err.Error(), "ERR ") }

// knownAppend is what was sent for one user, and what the tail becomes with it.
type knownAppend struct {
	adds     []*redis.StringCmd
	mark     *redis.StatusCmd
	presence *redis.StringSliceCmd
	last     string
	fresh    time.Time
}

func (c *knownAppend) refused() bool {
	return c.mark.Err() != nil || slices.ContainsFunc(c.adds, func(add *redis.StringCmd) bool { return add.Err() != nil })
}

// queue puts a user's commands into the pipeline: the entries, the last mark, the
// look-up after that and, now and then, the history's time to live, which has a
// tenth to spare for it.
func (a *appending) queue(ctx context.Context, p redis.Pipeliner, u userRun) knownAppend {
	c := knownAppend{last: u.tail.text, fresh: u.tail.fresh}
	for rest := u.entries; len(rest) > 0; {
		n := a.fits(rest)
		add := redis.NewStringCmd(ctx, a.entryArgs(u.tail, rest[:n], &c.last)...)
		_ = p.Process(ctx, add) // only queues
		c.adds = append(c.adds, add)
		rest = rest[n:]
	}
	c.mark = redis.NewStatusCmd(ctx, "set", u.tail.keys.last, c.last, "px", a.r.args.marksTTL)
	_ = p.Process(ctx, c.mark)
	c.presence = redis.NewStringSliceCmd(ctx, "hgetall", u.tail.keys.presence)
	_ = p.Process(ctx, c.presence)
	if spare := a.r.limits.HistoryTTL / 10; !a.seer.now.Before(c.fresh) {
		_ = p.Process(ctx, redis.NewBoolCmd(ctx, "pexpire", u.tail.keys.history, (a.r.limits.HistoryTTL+spare).Milliseconds()))
		c.fresh = a.seer.now.Add(spare)
	}
	return c
}

// fits is how many of the messages one entry takes, at least one. A message that
// may have to be withdrawn has one of its own.
func (a *appending) fits(indexes []int) int {
	n, size := 0, 0
	for _, at := range indexes[:min(len(indexes), entryMessages)] {
		e := &a.entries[at]
		size += len(e.Payload)
		if n > 0 && (size > entryBytes || e.OnlyIfPresent) {
			break
		}
		n++
		if e.OnlyIfPresent {
			break
		}
	}
	return n
}

// entryArgs spells one entry: see entry.lua. before is the offset that it
// names, and becomes its own.
func (a *appending) entryArgs(t *tail, indexes []int, before *string) []any {
	most := t.grow(len(indexes), a.r.limits.MaxPerUser)
	final := len(indexes) - 1
	id := a.entries[indexes[final]].Offset.String()
	args := make([]any, 0, 8+6*len(indexes))
	args = append(args, "xadd", t.keys.history, "maxlen", "~", most, id, "p", *before)
	for i, at := range indexes {
		e := a.entries[at].Envelope
		if i < final {
			args = append(args, "o", e.Offset.String())
		}
		args = append(args, "t", &e.Topic, "d", e.Payload)
	}
	*before = id
	return args
}
