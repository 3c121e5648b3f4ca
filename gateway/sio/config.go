package sio

import (
	"cmp"
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/codewar/socketbridge/gateway/limit"
)

// Config configures a [Server]. A zero value means the default, unless stated otherwise. The tags
// are the configuration key under sockets, and the range of its values.
type Config struct {
	Transports     []string      `mapstructure:"transports"`                  // "websocket", "polling"; default both
	PingInterval   time.Duration `mapstructure:"ping_interval" range:">0s"`   // default 25 s
	PingTimeout    time.Duration `mapstructure:"ping_timeout" range:">0s"`    // for the answer to a ping, default 60 s
	UpgradeTimeout time.Duration `mapstructure:"upgrade_timeout" range:">0s"` // for a whole upgrade, default 10 s
	ConnectTimeout time.Duration `mapstructure:"connect_timeout" range:">0s"` // for a client to join, default 45 s

	MaxConnect   int                `mapstructure:"max_connect" range:"1024..1048576"`  // bytes of a CONNECT packet, with `auth`; default 16 KiB
	MaxInbound   int64              `mapstructure:"max_inbound" range:"1024..67108864"` // bytes of one message or polling body from a client, default 1 MB
	InboundRate  int                `mapstructure:"inbound_rate" range:"0..1073741824"` // bytes a second from one client, after 64 KiB at once; 0 means no limit
	Memory       limit.MemoryConfig `mapstructure:",squash"`                            // bounds of the memory held for clients
	MaxPending   int                `mapstructure:"max_pending"`                        // bytes queued to one connection before it is closed as slow, default 4 MiB
	ReadTimeout  time.Duration      // for the body of one POST or one websocket message, default 30 s
	WriteTimeout time.Duration      `mapstructure:"write_timeout" range:">0s"` // for each 64 KiB written to one connection, default 10 s

	// CompressAbove is the least size in bytes of messages that are compressed, for clients
	// that accept it; 0 means never.
	CompressAbove int `mapstructure:"compress_above" range:"0..1073741824"`

	EventsPerMinute int `mapstructure:"events_per_minute" range:"0..1000000"` // client events for each connection; 0 means no limit

	// Limits of the handshake; 0 means none. Those for an address do not apply to this
	// machine's own, see [limit.Shared].
	MaxConnections    int `mapstructure:"max_connections" range:"0..10000000"`    // at a time
	MaxPerAddress     int `mapstructure:"max_per_address" range:"0..10000000"`    // at a time, from one address
	MaxHandshakes     int `mapstructure:"max_handshakes" range:"0..1000000"`      // that wait for a connect slot
	ConnectsPerSecond int `mapstructure:"connects_per_second" range:"0..1000000"` // from one address
	ConnectBurst      int `mapstructure:"connect_burst" range:"0..1000000"`       // from one address after a pause, at least ConnectsPerSecond

	// ClientAddr returns the client's address. Nil: [limit.Peer].
	ClientAddr limit.AddrFunc
	// Overloaded reports, before each handshake, whether the node is overloaded. If so, the
	// client is told to retry later. Nil means never.
	Overloaded func() bool

	// Metrics registers the server's metrics. Nil: they are not exposed.
	Metrics prometheus.Registerer
	// Reasons are a Handler's own reasons for the end of a connection, for its metric.
	Reasons []string

	// AllowRequest is called before each handshake, on both transports. An error refuses the
	// handshake with 403 and the error's text. Nil allows all.
	AllowRequest func(*http.Request) error
	// AllowOrigin reports whether pages of this origin may read the answers of the polling
	// transport, with credentials (CORS). It refuses no request: AllowRequest does. Nil means
	// that no other origin may.
	AllowOrigin func(origin string) bool
}

func (c Config) withDefaults() Config {
	if len(c.Transports) == 0 {
		c.Transports = []string{websocketTransport, pollingTransport}
	}
	c.PingInterval = cmp.Or(c.PingInterval, 25*time.Second)
	c.PingTimeout = cmp.Or(c.PingTimeout, 60*time.Second)
	c.UpgradeTimeout = cmp.Or(c.UpgradeTimeout, 10*time.Second)
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, 45*time.Second)
	c.MaxConnect = cmp.Or(c.MaxConnect, 16<<10)
	c.MaxInbound = cmp.Or(c.MaxInbound, 1_000_000)
	c.MaxPending = cmp.Or(c.MaxPending, 4<<20)
	c.ReadTimeout = cmp.Or(c.ReadTimeout, 30*time.Second)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, 10*time.Second)
	if c.ClientAddr == nil {
		c.ClientAddr = limit.Peer
	}
	return c
}

const (
	websocketTransport = "websocket"
	pollingTransport   = "polling"
)

// Limits that are not configurable.
const (
	// closeGrace is the time in which a connection that is being closed must receive what
	// was queued before.
	closeGrace = 2 * time.Second
	// pollGrace is the time in which a polling client whose connection has ended must fetch
	// the rest of its queue. It must also fetch each answer within closeGrace.
	pollGrace = 10 * time.Second
	// restoreTimeout bounds [Handler.Restore] and, when the restored socket is still
	// connected here, the end of the old connection.
	restoreTimeout = 3 * time.Second
	// maxCalls is how many events of one socket may wait for the Handler.
	maxCalls = 256
	// maxForeignNamespaces is how many CONNECTs to a namespace other than "/" a connection may send.
	maxForeignNamespaces = 8
	// maxIdleFrames is how many packets and frames without effect a connection may send in a
	// minute: pings, pongs that were not asked for, and open, upgrade and noop packets. Browsers
	// send none; other clients ping every few seconds.
	maxIdleFrames = 120
	// maxNamespace is the greatest length of a namespace, in bytes.
	maxNamespace = 128
	// maxArguments is how many arguments an event or an acknowledgement may have, with
	// the event's name.
	maxArguments = 64
	// maxEventName is the greatest length of an event's name, in bytes of JSON.
	maxEventName = 512
	// maxSessionText is the greatest length of a private id or an offset, in bytes.
	maxSessionText = 64
)

var (
	// ErrClosed means that the socket is closed or closing. Nothing more is sent.
	ErrClosed = errors.New("socket is closed")
	// ErrSlow means that more than Config.MaxPending bytes would wait for the client. The
	// socket is being closed.
	ErrSlow = errors.New("client is too slow")
	// ErrAckTimeout means that the client did not acknowledge in time.
	ErrAckTimeout = errors.New("no acknowledgement in time")
	// ErrReserved means that Socket.IO reserves the name of an event.
	ErrReserved = errors.New("event name is reserved")
)

// Reasons for the end of a connection, as [Handler.Disconnect] gets them, in Socket.IO's words
// where it has them. A Handler may have others.
const (
	ReasonClientLeft     = "client namespace disconnect"
	ReasonTransportClose = "transport close"
	ReasonShutdown       = "server shutting down"
	ReasonReplaced       = "restored by a new connection"

	// Drops: the server has ended the connection because of its client.
	ReasonPingTimeout    = "ping timeout"
	ReasonConnectTimeout = "connect timeout"
	ReasonSlow           = "slow"
	ReasonRateLimited    = "rate limited"
	ReasonOverrun        = "too many unhandled events"
	ReasonTooLarge       = "message too large"
	ReasonMemory         = "too much memory"
	ReasonAddressMemory  = "too much memory of one address"
	ReasonTotalMemory    = "too much memory in total"
	ReasonNamespaces     = "too many namespaces"
	ReasonProtocol       = "protocol error"
	ReasonRefused        = "refused"
)

// reasons lists all of them.
func reasons() []string {
	return append([]string{ReasonClientLeft, ReasonTransportClose, ReasonShutdown, ReasonReplaced}, drops...)
}

// drops lists those that [Stats] counts.
var drops = []string{
	ReasonPingTimeout, ReasonConnectTimeout, ReasonSlow, ReasonRateLimited,
	ReasonOverrun, ReasonTooLarge, ReasonMemory, ReasonAddressMemory, ReasonTotalMemory, ReasonNamespaces, ReasonProtocol, ReasonRefused,
}
