// Package config loads, validates and prints the configuration of the process.
package config

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/codewar/socketbridge/gateway/limit"
	"github.com/codewar/socketbridge/gateway/sio"
	"github.com/codewar/socketbridge/internal/logging"
	"github.com/codewar/socketbridge/internal/tracing"
	"github.com/codewar/socketbridge/store"
	"github.com/codewar/socketbridge/subscriber"
)

// Config has one field for each key of config.yaml, which explains each key. The mapstructure
// tags are the parts of the key: HTTP.ReplyTimeout is `http.reply_timeout` in the file and
// HTTP_REPLY_TIMEOUT in the environment. It is read-only after [Load].
type Config struct {
	HTTP    HTTP              `mapstructure:"http"`
	Origins []string          `mapstructure:"origins"` // empty: every origin is allowed
	Sockets Sockets           `mapstructure:"sockets"`
	History History           `mapstructure:"history"`
	Intake  Intake            `mapstructure:"intake"`
	NATS    subscriber.Config `mapstructure:"nats"`  // no URL: embedded server
	Redis   store.Config      `mapstructure:"redis"` // no Addrs: in-memory store
	Node    Node              `mapstructure:"node"`
	Auth    Auth              `mapstructure:"auth"`
	Ops     Ops               `mapstructure:"ops"`
	Drain   Drain             `mapstructure:"drain"`
	Canary  Canary            `mapstructure:"canary"`
	Log     logging.Config    `mapstructure:"log"`
	Traces  tracing.Config    `mapstructure:"traces"`

	// from maps a key to the source of its value, such as "environment PORT". Keys with their
	// default are missing.
	from map[string]string
}

// HTTP configures the public listener, http.addr.
type HTTP struct {
	Addr                     string        `mapstructure:"addr"`
	ReplyTimeout             time.Duration `mapstructure:"reply_timeout" range:">0s"`
	ReadHeaderTimeout        time.Duration `mapstructure:"read_header_timeout" range:">0s"`
	ReadTimeout              time.Duration `mapstructure:"read_timeout" range:">0s"`
	IdleTimeout              time.Duration `mapstructure:"idle_timeout" range:">0s"`
	MaxHeader                int           `mapstructure:"max_header" range:"4096..1048576"` // bytes
	MaxBody                  int64         `mapstructure:"max_body" range:"1024..67108864"`  // bytes
	TrustedProxies           []string      `mapstructure:"trusted_proxies"`                  // networks or addresses
	PayloadsPerSecond        int           `mapstructure:"payloads_per_second" range:"0..1000000"`
	PayloadBurst             int           `mapstructure:"payload_burst" range:"0..1000000"`
	PayloadBytesPerSecond    int           `mapstructure:"payload_bytes_per_second" range:"0..1099511627776"`
	PayloadBytesBurst        int           `mapstructure:"payload_bytes_burst" range:"0..1099511627776"` // bytes
	BodyBytes                int64         `mapstructure:"body_bytes" range:"0..1099511627776"`          // of all callers
	MaxConnections           int           `mapstructure:"max_connections" range:"0..10000000"`
	MaxIdleConnections       int           `mapstructure:"max_idle_connections" range:"0..10000000"`
	MaxConnectionsPerAddress int           `mapstructure:"max_connections_per_address" range:"0..10000000"`
	ShutdownDelay            time.Duration `mapstructure:"shutdown_delay" range:"0s.."`
	TLS                      TLS           `mapstructure:"tls"`
}

// TLS names the PEM files of the certificate and its key: both, or neither.
type TLS struct {
	Cert string `mapstructure:"cert"`
	Key  string `mapstructure:"key"`
}

// Sockets configures the Socket.IO endpoint.
type Sockets struct {
	sio.Config `mapstructure:",squash"`

	MaxPerUser            int           `mapstructure:"max_per_user" range:"0..1000000"`
	MaxBinding            int           `mapstructure:"max_binding" range:"0..1000000"`
	UserConnectsPerSecond int           `mapstructure:"user_connects_per_second" range:"0..1000000"`
	UserConnectBurst      int           `mapstructure:"user_connect_burst" range:"0..1000000"`
	PerUser               string        `mapstructure:"per_user"` // PerUserAll or PerUserLatest
	AckTimeout            time.Duration `mapstructure:"ack_timeout" range:">0s"`
}

// Values of sockets.per_user.
const (
	PerUserAll    = "all"    // every socket of a user gets every message
	PerUserLatest = "latest" // only the newest one, as in the Node service
)

// History bounds what the index keeps of each user's messages.
type History struct {
	TTL        time.Duration `mapstructure:"ttl" range:">0s"`
	MaxPerUser int           `mapstructure:"max_per_user" range:"1..1000000"`
	MaxMemory  int           `mapstructure:"max_memory" range:"1048576..1099511627776"` // bytes
	Traces     int           `mapstructure:"traces" range:"0..100000000"`               // messages; 0: none
}

// Intake configures which nodes read the stream.
type Intake struct {
	Readers int `mapstructure:"readers"` // 0: every node
}

// Node configures the identity of this process.
type Node struct {
	ID    string        `mapstructure:"id"` // empty: a random one
	Lease time.Duration `mapstructure:"lease" range:"1s.."`
	Env   string        `mapstructure:"env"` // NODE_ENV of the Node service
}

// Ops configures the operators' routes.
type Ops struct {
	TLS            bool     `mapstructure:"tls"`  // with the certificate of http.tls
	Addr           string   `mapstructure:"addr"` // empty: on http.addr
	Keys           []string `mapstructure:"keys"` // name:sha256
	MaxConnections int      `mapstructure:"max_connections" range:"0..10000000"`
	Pprof          bool     `mapstructure:"pprof"` // /debug/pprof on Addr
}

// Canary configures the messages with which a node checks its own delivery path.
type Canary struct {
	Interval time.Duration `mapstructure:"interval"` // 0: no canary
	Limit    time.Duration `mapstructure:"limit"`    // the age at which the node is not ready
}

// Drain configures how the process stops.
type Drain struct {
	Duration time.Duration `mapstructure:"duration" range:"0s.."`
}

// Default returns the configuration that applies when nothing is set: one node, embedded NATS
// server, in-memory store. config.yaml lists the same values.
func Default() Config {
	return Config{
		HTTP: HTTP{
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
		Sockets: Sockets{
			Config: sio.Config{
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
				Memory:          limit.MemoryConfig{Total: 64 << 20, PerAddress: 32 << 20, PerConnection: 8 << 20},
				EventsPerMinute: 100,
				CompressAbove:   1024,

				MaxConnections:    100_000,
				MaxPerAddress:     20_000,
				MaxHandshakes:     5000,
				ConnectsPerSecond: 500,
				ConnectBurst:      10_000,
			},
			MaxPerUser:            100,
			MaxBinding:            5000,
			UserConnectsPerSecond: 10,
			UserConnectBurst:      200,
			PerUser:               PerUserAll,
			AckTimeout:            3 * time.Second,
		},
		History: History{TTL: 10 * time.Minute, MaxPerUser: 1000, MaxMemory: 128 << 20, Traces: 500_000},
		Intake:  Intake{Readers: 3},
		NATS:    subscriber.DefaultConfig(),
		Redis:   store.Config{Addrs: []string{}, Timeout: 500 * time.Millisecond},
		Node:    Node{Lease: 10 * time.Second, Env: Development},
		Auth:    defaultAuth(),
		Ops:     Ops{Keys: []string{}, MaxConnections: 100},
		Drain:   Drain{Duration: 5 * time.Second},
		Canary:  Canary{Interval: 2 * time.Second, Limit: 8 * time.Second},
		Log:     logging.Config{Level: slog.LevelInfo, Format: logging.Text},
	}
}

// Store returns the configuration of the store. Its key prefix is never empty.
func (c Config) Store() store.Config {
	r := c.Redis
	r.Prefix = cmp.Or(r.Prefix, c.NATS.KeyPrefix())
	return r
}
