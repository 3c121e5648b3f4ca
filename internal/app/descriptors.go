package app

import (
	"context"
	"log/slog"
	"runtime"

	"github.com/codewar/socketbridge/internal/config"
)

const (
	// Reserved descriptors: for the process itself (standard streams, the runtime's poller,
	// listeners, certificates, DNS, JWKS, traces), and for the stream files of the embedded NATS
	// server, which has about 20 open.
	processDescriptors, streamDescriptors = 48, 64
	// leastConnections are accepted even if there are too few descriptors.
	leastConnections = 16
)

// fitDescriptors lowers the connection limits so that the process never runs out of file
// descriptors. An embedded NATS server that cannot open a file accepts no messages until it is
// restarted.
//
// The process, the streams and Redis are served first. An eighth of the rest is for publishers on
// the embedded NATS server and an eighth for operators, up to their own limits. The remainder is for
// http.addr; a tenth of it is not available to sockets, so that callers of /sendPayload can connect
// when the socket limit is reached.
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
		share += 2 * c.NATS.Embedded.MaxConnections // it accepts connections above the limit before it closes them
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

// fit returns the configured limit, 0 for none, reduced to the room.
func fit(configured, room int) int {
	room = max(room, leastConnections)
	if configured == 0 {
		return room
	}
	return min(configured, room)
}
