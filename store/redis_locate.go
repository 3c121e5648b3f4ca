package store

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/codewar/socketbridge/bridge"
)

// locateShare is which part of the time limit a look-up has: it is on the way of each message, and a
// message whose user cannot be looked up goes to all nodes.
const locateShare = 4

// Locate looks many users up in one round trip, one to each server of a Cluster. A server that does
// not answer within a quarter of Config.Timeout costs its users [bridge.ErrUnavailable], and the
// others nothing.
func (r *Redis) Locate(ctx context.Context, users []bridge.UserID) []bridge.Located {
	found := make([]bridge.Located, len(users))
	err := r.do(ctx, "locate", func(ctx context.Context) error { return r.locate(ctx, users, found) })
	if err != nil {
		for i := range found {
			if found[i].Err == nil && found[i].Sockets == nil {
				found[i].Err = err
			}
		}
	}
	return found
}

// locate fills found. An error is that of the users who have none of their own, and no sockets.
func (r *Redis) locate(ctx context.Context, users []bridge.UserID, found []bridge.Located) error {
	m, err := r.members(ctx)
	if err != nil {
		return err
	}
	keys := make([]string, len(users))
	cmds := make([]redis.StringSliceCmd, len(users))
	all := make([]redis.Cmder, len(users))
	args := make([]any, 2*len(users))
	for i, user := range users {
		keys[i] = r.keys.presence(user)
		a := args[2*i : 2*i+2 : 2*i+2]
		a[0] = hgetall
		if a[1] = &keys[i]; r.cluster { // where the library reads the slot off the key
			a[1] = keys[i]
		}
		cmds[i] = *redis.NewStringSliceCmd(ctx, a...)
		all[i] = &cmds[i]
	}
	limited, cancel := context.WithTimeoutCause(ctx, r.timeout/locateShare, errTooSlow)
	sent := r.sendAll(limited, all)
	cancel()
	if _, answered := errors.AsType[redis.Error](sent); sent != nil && !answered && !r.cluster {
		return sent
	}
	s := presenceResolver{r: r, membership: m, now: time.Now(), found: make([]bridge.Presence, 0, len(users))}
	for i := range cmds {
		sockets, err := []bridge.Presence(nil), cmds[i].Err()
		switch {
		case err != nil && !whole(cmds[i].Val()):
			err = firstError(all[i : i+1])
		case cmds[i].Val() == nil && sent != nil: // never sent, as when the breaker is open; no answer is nil
			err = sent
		default:
			sockets, err = s.sockets(ctx, keys[i], cmds[i].Val())
		}
		found[i] = bridge.Located{Sockets: sockets, Err: classify(err)}
	}
	r.settle(ctx, keys, found)
	return nil
}

// whole reports whether an answer was read to its end, whatever error its command has: when one
// master of a Cluster is silent, the library ends its tries by giving all commands the error of the
// context. What was not read of an answer is empty; no value of ours is.
func whole(answer []string) bool {
	return answer != nil && (len(answer) == 0 || answer[len(answer)-1] != "")
}
