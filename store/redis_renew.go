package store

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/codewar/socketbridge/bridge"
)

// Renew writes registrations again where they are not. Like [Redis.Register] it does so once
// more when the node has joined anew meanwhile.
func (r *Redis) Renew(ctx context.Context, renewals []bridge.Renewal) (lost []bool, err error) {
	if len(renewals) == 0 {
		return nil, nil
	}
	err = r.do(ctx, "renew", func(ctx context.Context) error {
		lost = make([]bool, len(renewals))
		for {
			self := r.self.Load()
			if self == nil {
				return errNotJoined
			}
			if err := r.renew(ctx, renewals, *self, lost); err != nil {
				return err
			}
			if now := r.self.Load(); now == nil || *now == *self {
				return nil
			}
		}
	})
	return lost, err
}

// renew writes registrations under an incarnation of this node, all in one round trip that
// takes its turn with those of sockets that come and leave.
func (r *Redis) renew(ctx context.Context, renewals []bridge.Renewal, self string, lost []bool) error {
	calls, cmds := make([]*redis.StringSliceCmd, len(renewals)), make([]redis.Cmder, len(renewals))
	for i, n := range renewals {
		calls[i] = renewScript.call(ctx, []string{r.keys.presence(n.User)},
			string(n.Socket), self, n.Token, n.Age.Microseconds(), string(r.node))
		cmds[i] = calls[i]
	}
	if err := r.pipelined(ctx, cmds...); err != nil {
		return err
	}
	for i, c := range calls {
		if len(c.Val()) != 1 {
			return errAnswer
		}
		lost[i] = lost[i] || c.Val()[0] == "1"
	}
	return nil
}
