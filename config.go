package main

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/codewar/socketbridge/store"
	"github.com/codewar/socketbridge/subscriber"
)

// Config is everything that can be set, one field for each key of config.yaml,
// where each key is explained. The mapstructure tags are the key's parts:
// HTTP.ReplyTimeout is `http.reply_timeout` in the file and HTTP_REPLY_TIMEOUT
// in the environment. Read-only once loaded.
type Config struct {
	HTTP    httpConfig        `mapstructure:"http"`
	Origins []string          `mapstructure:"origins"` // empty: every origin is let in
	Sockets socketsConfig     `mapstructure:"sockets"`
	History historyConfig     `mapstructure:"history"`
	Intake  intakeConfig      `mapstructure:"intake"`
	NATS    subscriber.Config `mapstructure:"nats"`  // no URL: embedded server
	Redis   store.Config      `mapstructure:"redis"` // no Addrs: in-memory store
	Node    nodeConfig        `mapstructure:"node"`
	Auth    authConfig        `mapstructure:"auth"`
	Ops     opsConfig         `mapstructure:"ops"`
	Drain   drainConfig       `mapstructure:"drain"`
	Canary  canaryConfig      `mapstructure:"canary"`
	Log     logConfig         `mapstructure:"log"`
	Traces  tracesConfig      `mapstructure:"traces"`

	// from says where a key's value was set, such as "environment PORT". A key
	// that is missing has its default.
	from map[string]string
}

type httpConfig struct {
	Addr                     string        `mapstructure:"addr"`
	ReplyTimeout             time.Duration `mapstructure:"reply_timeout"`
	ReadHeaderTimeout        time.Duration `mapstructure:"read_header_timeout"`
	ReadTimeout              time.Duration `mapstructure:"read_timeout"`
	IdleTimeout              time.Duration `mapstructure:"idle_timeout"`
	MaxHeader                int           `mapstructure:"max_header"`      // bytes
	MaxBody                  int64         `mapstructure:"max_body"`        // bytes
	TrustedProxies           []string      `mapstructure:"trusted_proxies"` // networks or addresses
	PayloadsPerSecond        int           `mapstructure:"payloads_per_second"`
	PayloadBurst             int           `mapstructure:"payload_burst"`
	PayloadBytesPerSecond    int           `mapstructure:"payload_bytes_per_second"`
	PayloadBytesBurst        int           `mapstructure:"payload_bytes_burst"` // bytes
	BodyBytes                int64         `mapstructure:"body_bytes"`          // of all callers
	MaxConnections           int           `mapstructure:"max_connections"`
	MaxIdleConnections       int           `mapstructure:"max_idle_connections"`
	MaxConnectionsPerAddress int           `mapstructure:"max_connections_per_address"`
	ShutdownDelay            time.Duration `mapstructure:"shutdown_delay"`
	TLS                      tlsConfig     `mapstructure:"tls"`
}

// tlsConfig names the PEM files of our certificate. Both or none.
type tlsConfig struct {
	Cert string `mapstructure:"cert"`
	Key  string `mapstructure:"key"`
}

type socketsConfig struct {
	Transports      []string      `mapstructure:"transports"`
	PingInterval    time.Duration `mapstructure:"ping_interval"`
	PingTimeout     time.Duration `mapstructure:"ping_timeout"`
	UpgradeTimeout  time.Duration `mapstructure:"upgrade_timeout"`
	ConnectTimeout  time.Duration `mapstructure:"connect_timeout"`
	WriteTimeout    time.Duration `mapstructure:"write_timeout"`
	MaxConnect      int           `mapstructure:"max_connect"`  // bytes
	MaxInbound      int64         `mapstructure:"max_inbound"`  // bytes
	InboundRate     int           `mapstructure:"inbound_rate"` // bytes a second
	MaxPending      int           `mapstructure:"max_pending"`  // bytes
	EventsPerMinute int           `mapstructure:"events_per_minute"`
	MaxMemory       int64         `mapstructure:"max_memory"` // bytes, and so the next two
	AddressMemory   int64         `mapstructure:"max_memory_per_address"`
	SocketMemory    int64         `mapstructure:"max_memory_per_connection"`
	CompressAbove   int           `mapstructure:"compress_above"` // bytes; 0: never

	MaxConnections    int `mapstructure:"max_connections"`
	MaxPerAddress     int `mapstructure:"max_per_address"`
	MaxPerUser        int `mapstructure:"max_per_user"`
	MaxBinding        int `mapstructure:"max_binding"`
	MaxHandshakes     int `mapstructure:"max_handshakes"`
	ConnectsPerSecond int `mapstructure:"connects_per_second"`
	ConnectBurst      int `mapstructure:"connect_burst"`

	UserConnectsPerSecond int `mapstructure:"user_connects_per_second"`
	UserConnectBurst      int `mapstructure:"user_connect_burst"`

	PerUser    string        `mapstructure:"per_user"` // perUserAll or perUserLatest
	AckTimeout time.Duration `mapstructure:"ack_timeout"`
}

// Values of sockets.per_user.
const (
	perUserAll    = "all"    // every socket of a user gets every message
	perUserLatest = "latest" // only the newest one, as the Node service had it
)

type historyConfig struct {
	TTL        time.Duration `mapstructure:"ttl"`
	MaxPerUser int           `mapstructure:"max_per_user"`
	MaxMemory  int           `mapstructure:"max_memory"` // bytes
	Traces     int           `mapstructure:"traces"`     // messages; 0: none
}

type intakeConfig struct {
	Readers int `mapstructure:"readers"` // 0: every node
}

type nodeConfig struct {
	ID    string        `mapstructure:"id"` // empty: a random one
	Lease time.Duration `mapstructure:"lease"`
	Env   string        `mapstructure:"env"` // NODE_ENV, as the Node service knew it
}

type opsConfig struct {
	TLS            bool     `mapstructure:"tls"`  // with the certificate of http.tls
	Addr           string   `mapstructure:"addr"` // empty: on http.addr
	Keys           []string `mapstructure:"keys"` // name:sha256
	MaxConnections int      `mapstructure:"max_connections"`
	Pprof          bool     `mapstructure:"pprof"` // /debug/pprof on Addr
}

type drainConfig struct {
	Duration time.Duration `mapstructure:"duration"`
}

type logConfig struct {
	Level  slog.Level `mapstructure:"level"`
	Format string     `mapstructure:"format"` // logText or logJSON
}

// Values of log.format.
const (
	logText = "text"
	logJSON = "json"
)

// defaultConfig is the configuration of a newcomer who sets nothing: one node,
// embedded NATS server, in-memory store. config.yaml spells the same values out.
func defaultConfig() Config {
	return Config{
		HTTP: httpConfig{
			Addr:                     ":3004",
			ReplyTimeout:             5 * time.Second,
			ReadHeaderTimeout:        10 * time.Second,
			ReadTimeout:              30 * time.Second,
			IdleTimeout:              2 * time.Minute,
			MaxHeader:                32 << 10,
			MaxBody:                  1 << 20,
			TrustedProxies:           []string{},
			PayloadsPerSecond:        2000,
			PayloadBurst:             4000,
			PayloadBytesPerSecond:    16 << 20,
			PayloadBytesBurst:        64 << 20,
			BodyBytes:                32 << 20,
			MaxConnections:           150_000,
			MaxIdleConnections:       10_000,
			MaxConnectionsPerAddress: 30_000,
		},
		Origins: []string{},
		Sockets: socketsConfig{
			Transports:      []string{"websocket", "polling"},
			PingInterval:    25 * time.Second,
			PingTimeout:     60 * time.Second,
			UpgradeTimeout:  10 * time.Second,
			ConnectTimeout:  45 * time.Second,
			WriteTimeout:    10 * time.Second,
			MaxConnect:      16 << 10,
			MaxInbound:      1_000_000,
			InboundRate:     1_000_000,
			MaxPending:      4 << 20,
			MaxMemory:       64 << 20,
			AddressMemory:   32 << 20,
			SocketMemory:    8 << 20,
			EventsPerMinute: 100,
			CompressAbove:   1024,

			MaxConnections:    100_000,
			MaxPerAddress:     20_000,
			MaxPerUser:        100,
			MaxBinding:        5000,
			MaxHandshakes:     5000,
			ConnectsPerSecond: 500,
			ConnectBurst:      10_000,

			UserConnectsPerSecond: 10,
			UserConnectBurst:      200,

			PerUser:    perUserAll,
			AckTimeout: 3 * time.Second,
		},
		History: historyConfig{TTL: 10 * time.Minute, MaxPerUser: 1000, MaxMemory: 128 << 20, Traces: 500_000},
		Intake:  intakeConfig{Readers: 3},
		NATS:    subscriber.DefaultConfig(),
		Redis:   store.Config{Addrs: []string{}, Timeout: 500 * time.Millisecond},
		Node:    nodeConfig{Lease: 10 * time.Second, Env: development},
		Auth:    defaultAuth(),
		Ops:     opsConfig{Keys: []string{}, MaxConnections: 100},
		Drain:   drainConfig{Duration: 5 * time.Second},
		Canary:  canaryConfig{Interval: 2 * time.Second, Limit: 8 * time.Second},
		Log:     logConfig{Level: slog.LevelInfo, Format: logText},
	}
}

// redis is the store's configuration, with keys of this deployment's own.
func (c Config) redis() store.Config {
	r := c.Redis
	r.Prefix = cmp.Or(r.Prefix, c.NATS.KeyPrefix())
	return r
}
