package app

import (
	"context"
	"log/slog"
	"runtime"

	"github.com/codewar/socketbridge/internal/config"
)

const (
	// Descriptors that are set aside: for the process itself (standard streams, the
	// runtime's poller, listeners, certificates, DNS, JWKS, traces), and for the files
	// of the embedded NATS server's streams. It has some 20 open while it works.
	processDescriptors, streamDescriptors = 48, 64
	// leastConnections are accepted however few descriptors there are.
	leastConnections = 16
)

// fitDescriptors lowers the limits of connections so that the process never runs out of
// descriptors, of which it may have so many. An embedded NATS server that cannot
// open a file takes no message until its JetStream is started again.
//
// Redis, the streams and the process have theirs first; an eighth of the rest each is
// for publishers on the embedded NATS server and for operators, at most as many as
// they may have; what is left is for http.addr. A tenth of that is not for sockets,
// so that callers of /sendPayload get in when all sockets are taken.
func fitDescriptors(c config.Config, descriptors uint64, log *slog.Logger) config.Config {
	rest := int(min(descriptors, 1<<30)) - processDescriptors
	if n := len(c.Redis.Addrs); n > 0 {
		pool := c.Redis.PoolSize
		if pool == 0 {
			pool = 10 * runtime.GOMAXPROCS(0) // the client's default
		}
		rest -= min(n*pool, rest/2)
	}
	share := 0
	if c.NATS.URL == "" {
		rest -= streamDescriptors
		c.NATS.Embedded.MaxConnections = fit(c.NATS.Embedded.MaxConnections, rest/8)
		share += 2 * c.NATS.Embedded.MaxConnections // it accepts more before it closes them
	}
	if c.Ops.Addr != "" {
		c.Ops.MaxConnections = fit(c.Ops.MaxConnections, rest/8)
		share += c.Ops.MaxConnections
	}
	configured := c.HTTP.MaxConnections
	c.HTTP.MaxConnections = fit(configured, rest-share)
	if c.HTTP.MaxConnections != configured {
		c.HTTP.MaxConnectionsPerAddress = fit(c.HTTP.MaxConnectionsPerAddress, c.HTTP.MaxConnections/2)
		log.LogAttrs(context.Background(), slog.LevelInfo, "connections are limited by file descriptors", slog.Uint64("descriptors", descriptors),
			slog.Int("connections", c.HTTP.MaxConnections), slog.Int("configured", configured))
	}
	c.Sockets.MaxConnections = fit(c.Sockets.MaxConnections, c.HTTP.MaxConnections-c.HTTP.MaxConnections/10)
	return c
}

// fit is a limit, 0 for none, that is no more than there is room for.
func fit(configured, room int) int {
	room = max(room, leastConnections)
	if configured == 0 {
		return room
	}
	return min(configured, room)
}
