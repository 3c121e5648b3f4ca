package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/codewar/socketbridge/bridge"
)

// session is the stored form of [bridge.Session].
type session struct {
	User   bridge.UserID   `json:"user"`
	Socket bridge.SocketID `json:"socket,omitempty"`
	Given  bridge.Offset   `json:"given,omitzero"`
}

// SaveSessions writes the sessions in one round trip, and deletes in a second one
// those that they evict.
func (r *Redis) SaveSessions(ctx context.Context, sessions map[string]bridge.Session) error {
	return r.do(ctx, "save_sessions", func(ctx context.Context) error {
		saves, cmds := make([]sessionSave, 0, len(sessions)), make([]redis.Cmder, 0, 2*len(sessions))
		for pid, s := range sessions {
			save, err := r.saveSession(ctx, pid, s)
			if err != nil {
				return err
			}
			saves, cmds = append(saves, save), save.appendTo(cmds)
		}
		if len(cmds) == 0 {
			return nil
		}
		if err := r.pipelined(ctx, cmds...); err != nil {
			return err
		}
		r.dropEvicted(ctx, saves...)
		return nil
	})
}

// sessionSave is the pair of commands that saves one session. The session and its
// user's list are in different slots of a Cluster, so one script cannot write both.
type sessionSave struct {
	user bridge.UserID
	set  *redis.StatusCmd
	list *redis.StringSliceCmd // returns the private ids of the sessions that were evicted
}

func (s sessionSave) appendTo(cmds []redis.Cmder) []redis.Cmder { return append(cmds, s.set, s.list) }

// saveSession makes the commands that save one session.
func (r *Redis) saveSession(ctx context.Context, pid string, s bridge.Session) (sessionSave, error) {
	value, err := json.Marshal(session(s))
	if err != nil {
		return sessionSave{}, fmt.Errorf("encode session: %w", err)
	}
	ttl := r.limits.SessionTTL.Milliseconds()
	return sessionSave{
		user: s.User,
		set:  redis.NewStatusCmd(ctx, "set", r.keys.session(pid), value, "px", ttl),
		list: listSessionScript.call(ctx, []string{r.keys.sessions(s.User)}, pid, ttl, r.limits.MaxSessions),
	}, nil
}

// dropEvicted deletes the sessions that the saves evicted from their users' lists. A
// session that cannot be deleted now lapses by itself.
func (r *Redis) dropEvicted(ctx context.Context, saves ...sessionSave) {
	var cmds []redis.Cmder
	for _, s := range saves {
		if s.list == nil {
			continue
		}
		for _, pid := range s.list.Val() {
			cmds = append(cmds, dropSessionScript.call(ctx, []string{r.keys.session(pid)}, string(s.user)))
		}
	}
	if len(cmds) > 0 {
		_ = r.pipelined(ctx, cmds...)
	}
}

// Session returns [bridge.ErrNoSession] when the id is unknown or has lapsed.
func (r *Redis) Session(ctx context.Context, pid string) (found bridge.Session, err error) {
	err = r.do(ctx, "session", func(ctx context.Context) error {
		c := redis.NewStringCmd(ctx, "get", r.keys.session(pid))
		err := r.pipelined(ctx, c)
		if errors.Is(err, redis.Nil) {
			return bridge.ErrNoSession
		}
		if err != nil {
			return err
		}
		var s session
		if err := json.Unmarshal([]byte(c.Val()), &s); err != nil {
			return fmt.Errorf("decode session: %w", err)
		}
		found = bridge.Session(s)
		return nil
	})
	return found, err
}

// DropSession deletes a session of the user.
func (r *Redis) DropSession(ctx context.Context, user bridge.UserID, pid string) error {
	return r.do(ctx, "drop_session", func(ctx context.Context) error {
		return r.pipelined(ctx,
			dropSessionScript.call(ctx, []string{r.keys.session(pid)}, string(user)),
			redis.NewIntCmd(ctx, "zrem", r.keys.sessions(user), pid))
	})
}
