package sio

import (
	"cmp"
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/codewar/socketbridge/gateway/limit"
)

// Config is how a [Server] behaves. A zero value means the default, unless said otherwise. The tags
// are the configuration key under sockets, and the range of its values.
type Config struct {
	Transports     []string      `mapstructure:"transports"`                  // "websocket", "polling"; default both
	PingInterval   time.Duration `mapstructure:"ping_interval" range:">0s"`   // default 25 s
	PingTimeout    time.Duration `mapstructure:"ping_timeout" range:">0s"`    // how long a ping may stay unanswered, default 60 s
	UpgradeTimeout time.Duration `mapstructure:"upgrade_timeout" range:">0s"` // from the first byte of an upgrade to its last, default 10 s
	ConnectTimeout time.Duration `mapstructure:"connect_timeout" range:">0s"` // a client that has not joined by then is closed, default 45 s

	MaxConnect   int                `mapstructure:"max_connect" range:"1024..1048576"`  // bytes of a CONNECT packet, with `auth`; default 16 KiB
	MaxInbound   int64              `mapstructure:"max_inbound" range:"1024..67108864"` // bytes of one message or polling body from a client, default 1 MB
	InboundRate  int                `mapstructure:"inbound_rate" range:"0..1073741824"` // bytes a second from one client, after 64 KiB at once; 0 means no limit
	Memory       limit.MemoryConfig `mapstructure:",squash"`                            // bounds of all that is held for clients
	MaxPending   int                `mapstructure:"max_pending"`                        // bytes queued to one connection before it is closed as slow, default 4 MiB
	ReadTimeout  time.Duration      // for the body of one POST or one websocket message, default 30 s
	WriteTimeout time.Duration      `mapstructure:"write_timeout" range:">0s"` // for each 64 KiB written to one connection, default 10 s

	// CompressAbove is from how many bytes on messages are compressed for clients
	// that can inflate them; 0 means never.
	CompressAbove int `mapstructure:"compress_above" range:"0..1073741824"`

	EventsPerMinute int `mapstructure:"events_per_minute" range:"0..1000000"` // client events for each connection; 0 means no limit

	// Limits of the handshake (limits.go); 0 means none. Those for an address do
	// not hold for this machine's own, see [limit.Shared].
	MaxConnections    int `mapstructure:"max_connections" range:"0..10000000"`    // at a time
	MaxPerAddress     int `mapstructure:"max_per_address" range:"0..10000000"`    // at a time, from one address
	MaxHandshakes     int `mapstructure:"max_handshakes" range:"0..1000000"`      // that wait for their turn
	ConnectsPerSecond int `mapstructure:"connects_per_second" range:"0..1000000"` // from one address
	ConnectBurst      int `mapstructure:"connect_burst" range:"0..1000000"`       // from one address after a pause, at least ConnectsPerSecond

	// ClientAddr tells whose handshake it is. Nil: the other end of the network connection's.
	ClientAddr limit.AddrFunc
	// Overloaded is asked before each handshake whether the node has enough to do:
	// the client is then told to come back. Nil means never.
	Overloaded func() bool

	// Metrics shows what the server counts. Nil: nobody sees it.
	Metrics prometheus.Registerer
	// Reasons are a Handler's own for the end of a connection, as its metric shows them.
	Reasons []string

	// AllowRequest is asked before each handshake, on both transports. An error
	// refuses it: the client is answered 403 with the error's text. Nil allows all.
	AllowRequest func(*http.Request) error
	// AllowOrigin says whether pages of this origin may read the answers of the
	// polling transport, with credentials (CORS). It does not refuse anybody: that
	// is AllowRequest's business. Nil means that no other origin may.
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

// Limits that nobody has had a reason to configure.
const (
	// closeGrace is how long a connection that is being closed may take to
	// receive what was queued before.
	closeGrace = 2 * time.Second
	// pollGrace is how long a polling client whose connection has ended may take to
	// fetch the rest of its queue, when it comes for each answer within closeGrace.
	pollGrace = 10 * time.Second
	// restoreTimeout bounds [Handler.Restore] and, when the restored socket is
	// still connected here, the end of the old connection.
	restoreTimeout = 3 * time.Second
	// maxCalls is how many events of one socket may wait for the Handler.
	maxCalls = 256
	// maxStrangers is how often one connection may ask for a namespace that is not there.
	maxStrangers = 8
	// maxNamespace is how long the name of a namespace may be, in bytes.
	maxNamespace = 128
	// maxArguments is how many arguments an event or an acknowledgement may have, with
	// the event's name.
	maxArguments = 64
	// maxEventName is how long the name of an event may be, in bytes of JSON.
	maxEventName = 512
	// maxSessionText is for the private id and the offset that a client presents.
	maxSessionText = 64
)

var (
	// ErrClosed means that the socket is closed or about to be: nothing more is sent.
	ErrClosed = errors.New("socket is closed")
	// ErrSlow means that more than Config.MaxPending bytes would wait for the
	// client. The socket is being closed.
	ErrSlow = errors.New("client is too slow")
	// ErrAckTimeout means that the client did not acknowledge in time.
	ErrAckTimeout = errors.New("no acknowledgement in time")
	// ErrReserved means that an event has a name that Socket.IO keeps for itself.
	ErrReserved = errors.New("event name is reserved")
)

// Reasons for the end of a connection, in Socket.IO's own words where it has
// them, as [Handler.Disconnect] gets them. A Handler's own reasons come on top.
const (
	ReasonClientLeft     = "client namespace disconnect"
	ReasonTransportClose = "transport close"
	ReasonShutdown       = "server shutting down"
	ReasonReplaced       = "restored by a new connection"

	// Drops: the server ended it, for what the client did or failed to do.
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

// reasons lists them all, drops included.
func reasons() []string {
	return append([]string{ReasonClientLeft, ReasonTransportClose, ReasonShutdown, ReasonReplaced}, drops...)
}

// drops lists those that [Stats] counts.
var drops = []string{
	ReasonPingTimeout, ReasonConnectTimeout, ReasonSlow, ReasonRateLimited,
	ReasonOverrun, ReasonTooLarge, ReasonMemory, ReasonAddressMemory, ReasonTotalMemory, ReasonNamespaces, ReasonProtocol, ReasonRefused,
}
