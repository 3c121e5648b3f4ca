package store

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/codewar/socketbridge/bridge"
)

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
	commands := a.paper.known.take(len(users))
	for i, u := range users {
		a.spell(ctx, u, &commands[i])
	}
	err = a.r.sendAll(ctx, a.paper.cmds)
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
		u.tail.text, u.tail.fresh, u.tail.present = *c.last, c.fresh, len(sockets) > 0
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
		for j := range commands[i].adds {
			if err := commands[i].adds[j].Err(); err != nil && !misplaced(err) {
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
	adds     []redis.StringCmd
	mark     *redis.StatusCmd
	presence *redis.StringSliceCmd
	last     *string
	fresh    time.Time
}

func (c *knownAppend) refused() bool {
	if c.mark.Err() != nil {
		return true
	}
	for i := range c.adds {
		if c.adds[i].Err() != nil {
			return true
		}
	}
	return false
}

// spell makes a user's commands: the entries, the last mark, the look-up after that
// and, now and then, the history's time to live, which has a tenth to spare for it.
func (a *appending) spell(ctx context.Context, u userRun, c *knownAppend) {
	p := a.paper
	c.last, c.fresh = &u.tail.text, u.tail.fresh
	c.adds = p.adds.take(a.entriesOf(u.entries))
	rest := u.entries
	for i := range c.adds {
		n := a.fits(rest)
		var args []any
		args, c.last = a.entryArgs(u.tail, rest[:n], c.last)
		c.adds[i] = *redis.NewStringCmd(ctx, args...)
		p.send(&c.adds[i])
		rest = rest[n:]
	}
	c.mark = &p.marks.take(1)[0]
	*c.mark = *redis.NewStatusCmd(ctx, p.list("set", &u.tail.keys.last, c.last, "px", a.r.args.marksTTL)...)
	p.send(c.mark)
	c.presence = &p.looks.take(1)[0]
	*c.presence = *redis.NewStringSliceCmd(ctx, p.list("hgetall", &u.tail.keys.presence)...)
	p.send(c.presence)
	if spare := a.r.limits.HistoryTTL / 10; !a.seer.now.Before(c.fresh) {
		p.send(redis.NewBoolCmd(ctx, "pexpire", u.tail.keys.history, (a.r.limits.HistoryTTL + spare).Milliseconds()))
		c.fresh = a.seer.now.Add(spare)
	}
}

// entriesOf is how many entries the messages make.
func (a *appending) entriesOf(indexes []int) (n int) {
	for ; len(indexes) > 0; n++ {
		indexes = indexes[a.fits(indexes):]
	}
	return n
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

// entryArgs spells one entry: see entry.lua. before is the offset that it names. It
// returns the entry's own too.
func (a *appending) entryArgs(t *tail, indexes []int, before *string) (args []any, id *string) {
	most := t.grow(len(indexes), a.r.limits.MaxPerUser)
	id = &a.paper.ids.take(1)[0]
	*id = a.entries[indexes[len(indexes)-1]].Offset.String()
	return a.paper.list("xadd", &t.keys.history, "maxlen", "~", most, id, "p", before, "m", a.pack(indexes)), id
}

// pack spells the messages of one entry.
func (a *appending) pack(indexes []int) []byte {
	const head = 48 // an offset and a length, mostly
	size := 0
	for _, at := range indexes {
		e := a.entries[at].Envelope
		size += head + len(e.Topic) + len(e.Payload)
	}
	b := a.paper.text.take(size)[:0]
	for i, at := range indexes {
		e := a.entries[at].Envelope
		if i < len(indexes)-1 {
			b = e.Offset.Append(b)
		}
		b = append(append(append(b, ' '), e.Topic...), ' ')
		b = append(strconv.AppendInt(b, int64(len(e.Payload)), 10), '\n')
		b = append(b, e.Payload...)
	}
	return b
}
