package store

import (
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/codewar/socketbridge/bridge"
)

// Append sends the whole batch in one round trip, after another one for those
// users whose messages are of no use when they are absent, and who were so when
// they were last looked up. The leader knows by heart where most histories end ([tails]), and plain commands do for those. Users it does
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
		defer r.tails.paper.reset()
		a := appending{
			r: r, paper: &r.tails.paper, entries: entries, out: make([]bridge.Appended, len(entries)),
			seer: seer{r: r, roster: m, now: time.Now()},
		}
		if err := a.run(ctx); err != nil {
			return err
		}
		out = a.out
		return nil
	})
	return out, classify(err)
}

// appending is one call of Append.
type appending struct {
	r       *Redis
	paper   *paper
	entries []bridge.Entry
	out     []bridge.Appended
	seer    seer
}

func (a *appending) run(ctx context.Context) error {
	runs := a.runs()
	known := a.paper.runs.take(len(runs))[:0]
	var repeated, unknown []userRun
	for _, u := range runs {
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

// leaveOut takes messages that are of no use to absent users out of the runs of those
// who are. Somebody who had a socket at the last message most likely has one now and is
// not looked up for this. Whoever has left since, or leaves after the look-up: nobody
// takes the message, and it is withdrawn.
func (a *appending) leaveOut(ctx context.Context, users []userRun) ([]userRun, error) {
	var asked []int
	for i, u := range users {
		if u.only && !u.tail.present {
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
