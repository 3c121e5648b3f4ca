package store

import (
	"context"
	"crypto/sha1" // #nosec G505 -- EVALSHA names scripts by SHA-1; nothing is secured by it.
	"embed"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"
)

//go:embed lua/*.lua
var lua embed.FS

// The Lua scripts. Each call runs in one step on the server, names every key it
// touches, and answers with an array of strings.
var (
	registerScript   = newScript("clock", "order", "take", "register")
	renewScript      = newScript("clock", "renew")
	unregisterScript = newScript("order", "take", "unregister")
	takenScript      = newScript("order", "take", "taken")
	reapScript       = newScript("reap")
	nodesScript      = newScript("clock", "members", "nodes")
	beatScript       = newScript("clock", "members", "beat")
	servingScript    = newScript("clock", "serving")
	canaryScript     = newScript("canary")

	listSessionScript = newScript("clock", "list_session")
	dropSessionScript = newScript("drop_session")
)

var scripts = []*script{
	registerScript, renewScript, unregisterScript, takenScript, reapScript, nodesScript, beatScript, servingScript, canaryScript,
	listSessionScript, dropSessionScript,
}

// usersPerCall is how many users go into one script call: enough that the cost of
// starting a script is spread, few enough that one call holds the server for well
// under a millisecond. In a Cluster it is one, because users live in different slots.
const usersPerCall = 32

// script is one Lua program and the name the server knows it by.
type script struct {
	source string
	hash   any // a string, boxed once: it goes into every command's arguments
}

// newScript joins the named files, the shared functions first.
func newScript(names ...string) *script {
	var b strings.Builder
	for _, name := range names {
		part, err := lua.ReadFile("lua/" + name + ".lua")
		if err != nil {
			panic(err) // an embedded file that does not exist: a programmer's error
		}
		b.Write(part)
	}
	sum := sha1.Sum([]byte(b.String())) // #nosec G401 -- see the import
	return &script{source: b.String(), hash: hex.EncodeToString(sum[:])}
}

// Arguments of many commands, boxed once.
var (
	evalsha any = "evalsha"
	hgetall any = "hgetall"
)

// call makes one command of the script, to be run by [Redis.run].
func (s *script) call(ctx context.Context, keys []string, args ...any) *redis.StringSliceCmd {
	all := make([]any, 0, 3+len(keys)+len(args))
	all = append(all, evalsha, s.hash, len(keys))
	for _, k := range keys {
		all = append(all, k)
	}
	return redis.NewStringSliceCmd(ctx, append(all, args...)...)
}

// load brings every script to the server at the other end of a new connection.
// Should the server refuse (a Sentinel has no scripts), [Redis.run] finds out.
func load(ctx context.Context, conn *redis.Conn) error {
	_, err := conn.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, s := range scripts {
			p.ScriptLoad(ctx, s.source)
		}
		return nil
	})
	if _, refused := errors.AsType[redis.Error](err); refused {
		return nil
	}
	return err
}

// errAnswer means that a script answered in a way that it cannot: another
// program wrote to the same keys.
var errAnswer = errors.New("unexpected answer of a script")
