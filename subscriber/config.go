package subscriber

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// Config is the part of the configuration under the key "nats".
type Config struct {
	// URL names the NATS servers, separated by commas. Empty: a server is run
	// inside this process, see Embedded.
	URL string `mapstructure:"url"`

	// User and Password, or Token, or a file, Creds or NKey, prove who we are. The
	// embedded server asks its clients for the same user or token, where it has no login of its own.
	User     string        `mapstructure:"user"`
	Password bridge.Secret `mapstructure:"password"`
	Token    bridge.Secret `mapstructure:"token"`
	Creds    string        `mapstructure:"creds"` // with a JWT and a seed
	NKey     string        `mapstructure:"nkey"`  // with a seed

	TLS TLSConfig `mapstructure:"tls"`

	// InboxPrefix begins the subjects of replies to this process, so that NATS
	// permissions can keep one user's replies from another. Empty: _INBOX.
	InboxPrefix string `mapstructure:"inbox_prefix"`

	// SubjectPrefix comes before the topic in a message's subject. The names of internal
	// subjects, and of streams that have none configured, are derived from it.
	SubjectPrefix string `mapstructure:"subject_prefix"`

	// ReceiptSubjects are subjects, with the wildcards of NATS, to which receipts may go beside
	// inboxes.
	ReceiptSubjects []string `mapstructure:"receipt_subjects"`

	Stream     StreamConfig     `mapstructure:"stream"`
	DeadLetter DeadLetterConfig `mapstructure:"dead_letter"`
	Embedded   EmbeddedConfig   `mapstructure:"embedded"`
}

// TLSConfig names PEM files for connections to NATS_URL. All may be empty; the
// URL's scheme tls:// asks for TLS with the system's authorities.
type TLSConfig struct {
	CA   string `mapstructure:"ca"`
	Cert string `mapstructure:"cert"`
	Key  string `mapstructure:"key"`
}

// StreamConfig is how the stream is created. One that exists is taken as it is:
// differences are logged, never overwritten.
type StreamConfig struct {
	Name     string        `mapstructure:"name"` // empty: derived from the subject prefix
	MaxAge   time.Duration `mapstructure:"max_age"`
	MaxBytes int64         `mapstructure:"max_bytes"`
	// Duplicates is how long a Nats-Msg-Id is remembered. Each id costs the NATS
	// server about 108 bytes for that long.
	Duplicates time.Duration `mapstructure:"duplicates"`
	Replicas   int           `mapstructure:"replicas"`
}

// DeadLetterConfig is how the stream of messages that break the rules is created.
type DeadLetterConfig struct {
	Stream   string        `mapstructure:"stream"` // empty: derived from the subject prefix
	MaxAge   time.Duration `mapstructure:"max_age"`
	MaxBytes int64         `mapstructure:"max_bytes"`
}

// EmbeddedConfig is the NATS server inside this process. It accepts messages of
// up to 1 MiB, headers included, which is the NATS default.
type EmbeddedConfig struct {
	// Addr is where publishers reach it. Only a loopback address may go without
	// a token or user. Port 0 picks a free one.
	Addr string `mapstructure:"addr"`
	// User and Password are the login that it asks its clients for, and that ours use. Without
	// them, and without [Config.User] and [Config.Token], it asks for none.
	User     string        `mapstructure:"user"`
	Password bridge.Secret `mapstructure:"password"`

	StoreDir string `mapstructure:"store_dir"`
	MaxStore int64  `mapstructure:"max_store"`
	// Sync is how often the store is flushed to the disk: a duration, or "always"
	// for each write. It matters when the machine dies; a killed process loses
	// nothing that was acknowledged.
	Sync string `mapstructure:"sync"`
	// MaxConnections is how many connections it accepts, ours among them.
	MaxConnections int `mapstructure:"max_connections"`
}

// syncAlways is the value of [EmbeddedConfig.Sync] that is no duration.
const syncAlways = "always"

// DefaultConfig is what applies where nothing is configured.
func DefaultConfig() Config {
	return Config{
		SubjectPrefix:   defaultPrefix,
		ReceiptSubjects: []string{},
		Stream:          StreamConfig{MaxAge: 24 * time.Hour, MaxBytes: 1 << 30, Duplicates: 2 * time.Minute, Replicas: 1},
		DeadLetter:      DeadLetterConfig{MaxAge: 7 * 24 * time.Hour, MaxBytes: 256 << 20},
		Embedded:        EmbeddedConfig{Addr: "127.0.0.1:4222", StoreDir: "./data", MaxStore: 4 << 30, Sync: "2s", MaxConnections: 1000},
	}
}

// Validate names every setting that cannot work.
func (c Config) Validate() error {
	c = c.withNames()
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	named := validPrefix(c.SubjectPrefix) // else names that are derived from it are wrong as well
	check(named, "nats.subject_prefix %q: must be NATS tokens of [A-Za-z0-9_-] joined by dots, and not begin with bridge, dead, events or _INBOX", c.SubjectPrefix)
	for _, s := range c.ReceiptSubjects {
		check(c.validPattern(s), "nats.receipt_subjects %q: must be a subject, with * and > as wildcards, that does not begin with $, bridge, _INBOX or nats.subject_prefix", s)
	}
	check(c.identities() <= 1, "nats.user, nats.token, nats.creds and nats.nkey: set only one")
	check(c.Password == "" || c.User != "", "nats.password: needs nats.user")
	check((c.TLS.Cert == "") == (c.TLS.Key == ""), "nats.tls.cert and nats.tls.key: set both or none")
	check(!named || bridge.ValidNodeID(c.Stream.Name), "nats.stream.name %q: must be 1 to 64 characters of [A-Za-z0-9_-]", c.Stream.Name)
	check(!named || bridge.ValidNodeID(c.DeadLetter.Stream), "nats.dead_letter.stream %q: must be 1 to 64 characters of [A-Za-z0-9_-]", c.DeadLetter.Stream)
	check(validInbox(c.InboxPrefix), "nats.inbox_prefix %q: must be _INBOX, or _INBOX and tokens of [A-Za-z0-9_-] joined by dots, such as _INBOX.bridge", c.InboxPrefix)
	check(c.Stream.Name != c.DeadLetter.Stream, "nats.dead_letter.stream: must not be nats.stream.name")
	check(c.Stream.MaxAge > 0 && c.DeadLetter.MaxAge > 0, "nats.stream.max_age and nats.dead_letter.max_age: must be positive")
	check(c.Stream.MaxBytes > 0 && c.DeadLetter.MaxBytes > 0, "nats.stream.max_bytes and nats.dead_letter.max_bytes: must be positive")
	check(c.Stream.Duplicates > 0 && c.Stream.Duplicates <= c.Stream.MaxAge, "nats.stream.duplicates: must be positive and at most nats.stream.max_age")
	check(c.Stream.Replicas >= 1 && c.Stream.Replicas <= 5, "nats.stream.replicas: must be 1 to 5")
	if c.URL == "" {
		errs = append(errs, c.validateEmbedded())
	}
	return errors.Join(errs...)
}

// identities counts the ways to prove who we are that are configured.
func (c Config) identities() (n int) {
	for _, set := range []bool{c.User != "", c.Token != "", c.Creds != "", c.NKey != ""} {
		if set {
			n++
		}
	}
	return n
}

func (c Config) validateEmbedded() error {
	e := c.Embedded
	host, _, err := net.SplitHostPort(e.Addr)
	if err != nil {
		return fmt.Errorf("nats.embedded.addr: %w", err)
	}
	if _, err := e.syncInterval(); err != nil {
		return err
	}
	switch {
	case (e.User == "") != (e.Password == ""):
		return errors.New("nats.embedded.user and nats.embedded.password: set both or none")
	case e.User != "" && c.identities() > 0:
		return errors.New("nats.embedded.user: is in the place of nats.user and nats.token, set only one")
	case !isLoopback(host) && c.Token == "" && c.User == "" && e.User == "":
		return fmt.Errorf("nats.embedded.addr %s: set nats.embedded.user and nats.embedded.password (NATS_EMBEDDED_USER, NATS_EMBEDDED_PASSWORD), or nats.token (NATS_TOKEN), before others can reach it", e.Addr)
	case c.Creds != "" || c.NKey != "" || c.TLS != TLSConfig{}:
		return errors.New("nats.creds, nats.nkey and nats.tls: need nats.url, the embedded server does not use them")
	case c.Stream.Replicas > 1:
		return errors.New("nats.stream.replicas: the embedded server keeps one, more need nats.url")
	case e.MaxConnections < 2:
		return fmt.Errorf("nats.embedded.max_connections %d: must be 2 or more", e.MaxConnections)
	case e.StoreDir == "":
		return errors.New("nats.embedded.store_dir: must not be empty")
	case e.MaxStore < c.Stream.MaxBytes+c.DeadLetter.MaxBytes:
		return errors.New("nats.embedded.max_store: must hold nats.stream.max_bytes and nats.dead_letter.max_bytes")
	}
	return nil
}

// withLogin returns c with the embedded server's own login in place of nats.user, for the server
// and for those who connect to it.
func (c Config) withLogin() Config {
	if c.URL == "" && c.Embedded.User != "" {
		c.User, c.Password = c.Embedded.User, c.Embedded.Password
	}
	return c
}

// syncInterval is zero for "always".
func (e EmbeddedConfig) syncInterval() (time.Duration, error) {
	if e.Sync == syncAlways {
		return 0, nil
	}
	d, err := time.ParseDuration(e.Sync)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("nats.embedded.sync %q: must be a positive duration or %q", e.Sync, syncAlways)
	}
	return d, nil
}

// isLoopback does not resolve names: another name than localhost means that the address is to be
// reached from other machines.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// validPrefix refuses prefixes whose messages would mix with our own subjects.
func validPrefix(s string) bool {
	first, _, _ := strings.Cut(s, ".")
	if slices.Contains(reservedPrefixes, first) {
		return false
	}
	for token := range strings.SplitSeq(s, ".") {
		if !bridge.ValidNodeID(token) {
			return false
		}
	}
	return true
}

// validInbox accepts prefixes of replies that no other subject begins with.
func validInbox(s string) bool {
	for token := range strings.SplitSeq(s, ".") {
		if s != "" && !bridge.ValidNodeID(token) {
			return false
		}
	}
	return s == "" || s == inboxPrefix || strings.HasPrefix(s, inboxPrefix+".")
}
