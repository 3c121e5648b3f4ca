package store

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/codewar/socketbridge/bridge"
)

// Config says where Redis is. The zero value of each field but Addrs is good.
type Config struct {
	// Addrs are host:port, or the path of a unix socket. One address is a single
	// server, several without MasterName are seeds of a Cluster.
	Addrs []string `mapstructure:"addrs"`
	// MasterName makes Addrs the Sentinels that watch this master.
	MasterName string `mapstructure:"master_name"`
	// Cluster says that a single address is the entry to a Cluster.
	Cluster          bool          `mapstructure:"cluster"`
	Username         string        `mapstructure:"username"`
	Password         bridge.Secret `mapstructure:"password"`
	SentinelPassword bridge.Secret `mapstructure:"sentinel_password"`
	DB               int           `mapstructure:"db"` // always 0 in a Cluster
	// Prefix starts every key, so that several deployments can share one Redis. Default "bridge".
	Prefix string `mapstructure:"prefix"`
	TLS    TLS    `mapstructure:"tls"`
	// Timeout bounds one call. A connection that takes longer to make, at most two seconds, is
	// there for the next call. Default 500ms.
	Timeout time.Duration `mapstructure:"timeout"`
	// PoolSize is the most connections to one server. Default 10 for each CPU.
	PoolSize int `mapstructure:"pool_size"`
}

// TLS is how to talk to a Redis that encrypts. The paths name PEM files.
type TLS struct {
	Enabled    bool   `mapstructure:"enabled"`
	CA         string `mapstructure:"ca"`          // empty: the system's
	Cert       string `mapstructure:"cert"`        // the client's own, with Key; may be empty
	Key        string `mapstructure:"key"`         // see Cert
	ServerName string `mapstructure:"server_name"` // empty: the host of the address
}

// Limits bound what a store keeps and for how long.
type Limits struct {
	HistoryTTL  time.Duration // for how long messages are of use; default 10m
	NodeLease   time.Duration // how long a silent node counts as alive; default 10s. Beat every third of it.
	SessionTTL  time.Duration // how long a session can be resumed after it was last saved; default 3/2 of HistoryTTL
	MaxSessions int           // how many sessions are kept for a user, the newest ones; default 200
}

// marksTTL is how long a user's delivered offset is kept after it has moved.
func (l Limits) marksTTL() time.Duration { return max(l.HistoryTTL, 7*24*time.Hour) }

func (l Limits) withDefaults() Limits {
	history := cmp.Or(l.HistoryTTL, 10*time.Minute)
	return Limits{
		HistoryTTL:  history,
		NodeLease:   cmp.Or(l.NodeLease, 10*time.Second),
		SessionTTL:  cmp.Or(l.SessionTTL, history*3/2),
		MaxSessions: cmp.Or(l.MaxSessions, 200),
	}
}

func (c Config) withDefaults() Config {
	c.Prefix = cmp.Or(c.Prefix, "bridge")
	c.Timeout = cmp.Or(c.Timeout, 500*time.Millisecond)
	return c
}

func (c Config) isCluster() bool { return c.MasterName == "" && (c.Cluster || len(c.Addrs) > 1) }

// validate expects the defaults to be filled in.
func (c Config) validate() error {
	switch {
	case len(c.Addrs) == 0:
		return errors.New("addrs is empty")
	case strings.ContainsAny(c.Prefix, "{}"):
		return errors.New("prefix has a brace: it would decide the Cluster slot of every key")
	case c.isCluster() && c.DB != 0:
		return errors.New("db must be 0 in a Cluster")
	case c.Cluster && c.MasterName != "":
		return errors.New("cluster and master_name exclude each other")
	case c.Timeout < 0 || c.PoolSize < 0 || c.DB < 0:
		return errors.New("timeout, pool_size and db must not be negative")
	}
	return nil
}

// dialLimit bounds the making of a connection, which takes several round trips with TLS.
const dialLimit = 2 * time.Second

// options are the client's. The library's defaults let a stalled server hold a
// caller for ten seconds, whatever the caller's context says; here nothing
// outlasts Timeout, and trying again is the caller's decision.
func (c Config) options() (*redis.UniversalOptions, error) {
	tlsConfig, err := c.TLS.config()
	if err != nil {
		return nil, err
	}
	return &redis.UniversalOptions{
		Addrs: c.Addrs, MasterName: c.MasterName, IsClusterMode: c.isCluster(),
		Username: c.Username, Password: c.Password.Reveal(), SentinelPassword: c.SentinelPassword.Reveal(),
		DB: c.DB, TLSConfig: tlsConfig, PoolSize: c.PoolSize,

		ContextTimeoutEnabled: true,
		MaxRetries:            -1,
		DialerRetries:         1,
		DialTimeout:           max(c.Timeout, dialLimit),
		ReadTimeout:           c.Timeout,
		WriteTimeout:          c.Timeout,
		PoolTimeout:           c.Timeout,

		// Plain arrays of strings are all we read: the older protocol parses them
		// at less cost and needs fewer round trips to connect.
		Protocol:                 2,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		OnConnect:                load,
	}, nil
}

func (t TLS) config() (*tls.Config, error) {
	if !t.Enabled {
		return nil, nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("read tls.ca: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.ca: no certificate in %s", t.CA)
		}
	}
	if t.Cert != "" || t.Key != "" {
		if _, err := tls.LoadX509KeyPair(t.Cert, t.Key); err != nil {
			return nil, fmt.Errorf("load tls.cert and tls.key: %w", err)
		}
		// Read for each connection, so that the pair can be renewed.
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
			return &pair, err
		}
	}
	return conf, nil
}
