package store

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/codewar/socketbridge/bridge"
)

// errNotJoined means that this node registers sockets before its first Beat.
var errNotJoined = errors.New("the node has no lease yet")

// Register records a socket. When the node has joined anew meanwhile, it does so again: a call
// that was on its way may have come after the one that registers every socket under the new
// incarnation, and would leave this socket under the dead one, where no message finds it.
func (r *Redis) Register(ctx context.Context, reg bridge.Registration) (done bridge.Registered, err error) {
	err = r.do(ctx, "register", func(ctx context.Context) error {
		for {
			self := r.self.Load()
			if self == nil {
				return errNotJoined
			}
			if done, err = r.register(ctx, reg, *self); err != nil {
				return err
			}
			if now := r.self.Load(); now == nil || *now == *self {
				return nil
			}
		}
	})
	return done, err
}

// register records a socket under an incarnation of this node.
func (r *Redis) register(ctx context.Context, reg bridge.Registration, self string) (done bridge.Registered, err error) {
	c := registerScript.call(ctx, []string{r.keys.marks(reg.User), r.keys.presence(reg.User)}, string(reg.Socket), self, reg.Token)
	cmds := []redis.Cmder{c}
	var session sessionSave
	if reg.PID != "" {
		if session, err = r.saveSession(ctx, reg.PID, reg.Session()); err != nil {
			return done, err
		}
		cmds = session.appendTo(cmds)
	}
	if err := r.pipelined(ctx, cmds...); err != nil {
		return done, err
	}
	r.dropEvicted(ctx, session)
	reply := c.Val()
	if len(reply) != 3 {
		return done, errAnswer
	}
	if done.Delivered, err = bridge.ParseOffset(reply[0]); err != nil {
		return done, errAnswer
	}
	if before, token, ok := strings.Cut(reply[1], "|"); ok {
		_, token, _ = strings.Cut(token, "|")
		if node, _, ok := cutIncarnation(before); ok && node != r.node {
			done.Replaced = bridge.Replaced{Node: node, User: reg.User, Socket: reg.Socket, Token: token}
		}
	}
	if done.Sockets, err = strconv.Atoi(reply[2]); err != nil {
		return done, errAnswer
	}
	return done, nil
}

// Unregister removes this registration and records what the socket was given.
func (r *Redis) Unregister(ctx context.Context, reg bridge.Registration, given bridge.Delivered) error {
	from, to := "", ""
	if !given.IsZero() {
		from, to = given.From.String(), given.To.String()
	}
	return r.do(ctx, "unregister", func(ctx context.Context) error {
		return r.pipelined(ctx, unregisterScript.call(ctx, []string{r.keys.marks(reg.User), r.keys.presence(reg.User)},
			from, to, r.args.marksTTL, string(reg.Socket), string(r.node), reg.Token))
	})
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

// Delivered returns how far the user's sockets have received.
func (r *Redis) Delivered(ctx context.Context, user bridge.UserID) (o bridge.Offset, err error) {
	err = r.do(ctx, "delivered", func(ctx context.Context) error {
		c := redis.NewStringCmd(ctx, "hget", r.keys.marks(user), "taken")
		err := r.run(ctx, c)
		if errors.Is(err, redis.Nil) {
			return nil
		}
		if err == nil {
			o, err = bridge.ParseOffset(c.Val())
		}
		return err
	})
	return o, err
}
