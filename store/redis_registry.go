package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/codewar/socketbridge/bridge"
)

// errNotJoined means that this node registers sockets before its first Beat.
var errNotJoined = errors.New("the node has no lease yet")

// Register records a socket and reads what it missed, in one step. When the node
// has joined anew meanwhile, it does so again: a call that was on its way may have
// come after the one that registers every socket under the new incarnation, and
// would leave this socket under the dead one, where no message finds it.
func (r *Redis) Register(ctx context.Context, reg bridge.Registration) (page bridge.Replay, err error) {
	err = r.do(ctx, "register", func(ctx context.Context) error {
		for {
			self := r.self.Load()
			if self == nil {
				return errNotJoined
			}
			if page, err = r.register(ctx, reg, *self); err != nil {
				return err
			}
			if now := r.self.Load(); now == nil || *now == *self {
				return nil
			}
		}
	})
	return page, err
}

// register records a socket under an incarnation of this node.
func (r *Redis) register(ctx context.Context, reg bridge.Registration, self string) (bridge.Replay, error) {
	k := r.keys.user(reg.User)
	after := "" // the script starts at the delivered offset
	if reg.After != nil {
		after = reg.After.String()
	}
	c := registerScript.call(ctx, []string{k.history, k.last, k.marks, k.presence},
		after, fetch(reg.Limit), string(reg.Socket), self, reg.Token, r.args.marksTTL)
	cmds := []redis.Cmder{c}
	var session sessionSave
	if reg.PID != "" {
		var err error
		if session, err = r.saveSession(ctx, reg.PID, reg.Session()); err != nil {
			return bridge.Replay{}, err
		}
		cmds = session.appendTo(cmds)
	}
	if err := r.together(ctx, cmds...); err != nil {
		return bridge.Replay{}, err
	}
	r.dropEvicted(ctx, session)
	reply := c.Val()
	if len(reply) < 2 {
		return bridge.Replay{}, errAnswer
	}
	last := len(reply) - 1
	sockets, err := strconv.Atoi(reply[last])
	if err != nil {
		return bridge.Replay{}, errAnswer
	}
	page, err := parsePage(reply[:last-1], reg.User, reg.After, reg.Limit)
	page.Sockets = sockets
	if before, token, ok := strings.Cut(reply[last-1], "|"); ok {
		_, token, _ = strings.Cut(token, "|")
		if node, _, ok := cutIncarnation(before); ok && node != r.node {
			page.Replaced = bridge.Replaced{Node: node, User: reg.User, Socket: reg.Socket, Token: token}
		}
	}
	return page, err
}

// Unregister removes this registration and records what the socket was given.
func (r *Redis) Unregister(ctx context.Context, reg bridge.Registration, given bridge.Delivered) error {
	k := r.keys.user(reg.User)
	from, to := "", ""
	if !given.IsZero() {
		from, to = given.From.String(), given.To.String()
	}
	return r.do(ctx, "unregister", func(ctx context.Context) error {
		return r.together(ctx, unregisterScript.call(ctx, []string{k.marks, k.presence},
			from, to, r.args.marksTTL, string(reg.Socket), string(r.node), reg.Token))
	})
}

// Locate returns the user's sockets on live nodes, oldest first.
func (r *Redis) Locate(ctx context.Context, user bridge.UserID) (found []bridge.Presence, err error) {
	k := r.keys.user(user)
	err = r.do(ctx, "locate", func(ctx context.Context) error {
		m, err := r.members(ctx)
		if err != nil {
			return err
		}
		c := redis.NewStringSliceCmd(ctx, "hgetall", k.presence)
		if err := r.run(ctx, c); err != nil {
			return err
		}
		s := seer{r: r, roster: m, now: time.Now()}
		found, err = s.sockets(ctx, k.presence, c.Val())
		if err == nil && len(found) == 0 {
			err = r.settled(ctx, k.presence)
		}
		return err
	})
	return found, err
}

// Taken moves the delivered offsets of many users in one round trip.
func (r *Redis) Taken(ctx context.Context, given []bridge.Delivered) error {
	return r.do(ctx, "taken", func(ctx context.Context) error {
		keys, offsets := make([]string, 0, len(given)), make([]any, 0, 2*len(given))
		for _, d := range given {
			if !d.IsZero() {
				keys, offsets = append(keys, r.keys.marks(d.User)), append(offsets, d.From.String(), d.To.String())
			}
		}
		var calls []*redis.StringSliceCmd
		for i := 0; i < len(keys); i += r.usersPerCall {
			end := min(i+r.usersPerCall, len(keys))
			calls = append(calls, takenScript.call(ctx, keys[i:end], append([]any{r.args.marksTTL}, offsets[2*i:2*end]...)...))
		}
		return r.run(ctx, cmders(calls)...)
	})
}

// Marks returns the user's marks.
func (r *Redis) Marks(ctx context.Context, user bridge.UserID) (taken, last bridge.Offset, err error) {
	k := r.keys.user(user)
	err = r.do(ctx, "marks", func(ctx context.Context) error {
		t, l := redis.NewStringCmd(ctx, "hget", k.marks, "taken"), redis.NewStringCmd(ctx, "get", k.last)
		// A key that is not there is an error to the library, and no reason to stop.
		if err := r.run(ctx, t, l); err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		for _, mark := range []struct {
			c  *redis.StringCmd
			to *bridge.Offset
		}{{t, &taken}, {l, &last}} {
			switch err := mark.c.Err(); {
			case errors.Is(err, redis.Nil):
				continue
			case err != nil:
				return err
			}
			o, err := bridge.ParseOffset(mark.c.Val())
			if err != nil {
				return fmt.Errorf("read mark: %w", err)
			}
			*mark.to = o
		}
		return nil
	})
	return taken, last, err
}

// get returns redis.Nil when there is no such key.
func (r *Redis) get(ctx context.Context, key string) (string, error) {
	c := redis.NewStringCmd(ctx, "get", key) // made here: the breaker may let nothing be queued
	err := r.send(ctx, func(p redis.Pipeliner) { _ = p.Process(ctx, c) })
	return c.Val(), err
}
