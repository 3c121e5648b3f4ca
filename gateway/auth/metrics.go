package auth

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// Kind is what a client or caller authenticates for.
type Kind string

// The kinds.
const (
	Connect  Kind = "connect"  // a client: its handshake, or the user that it names
	Refresh  Kind = "refresh"  // a client with its next token
	Publish  Kind = "publish"  // a caller of /sendPayload
	Operator Kind = "operator" // a caller of an operators' route
)

// Codes of refusals beside those of tokens.
const (
	CodeUnauthorized    = "UNAUTHORIZED"     // no credentials
	CodeInvalidKey      = "INVALID_API_KEY"  // neither a known key nor a token
	CodeForbiddenScope  = "FORBIDDEN_SCOPE"  // a valid token without the scope
	CodeForbiddenUser   = "FORBIDDEN_USER"   // a valid token of another user
	CodeForbiddenOrigin = "FORBIDDEN_ORIGIN" // sent by a page of another origin
	CodeForbiddenHost   = "FORBIDDEN_HOST"   // from this machine, with a Host that is not a loopback name
)

// resultOK is the result of a successful authentication. The others are codes.
const resultOK = "ok"

// Metrics counts authentications by kind and result and logs refusals: at most one line in
// ten seconds for each kind and code. Safe for concurrent use.
type Metrics struct {
	log     *slog.Logger
	results map[Kind]map[string]*atomic.Uint64 // read-only after NewMetrics
	keys    map[string]*atomic.Uint64          // by the name of the API key; read-only after NewMetrics

	mu     sync.Mutex // guards limits
	limits map[refusal]*bridge.LogLimiter
}

// refusal is a kind of log line.
type refusal struct {
	kind Kind
	code string
}

// NewMetrics makes the counters, with zeros, of all results and of these API keys.
func NewMetrics(keys []APIKey, log *slog.Logger) *Metrics {
	m := &Metrics{log: log, results: make(map[Kind]map[string]*atomic.Uint64), keys: make(map[string]*atomic.Uint64), limits: make(map[refusal]*bridge.LogLimiter)}
	for kind, codes := range map[Kind][]string{
		Connect:  append(Codes(), resultOK, CodeForbiddenUser),
		Refresh:  append(Codes(), resultOK),
		Publish:  append(Codes(), resultOK, CodeUnauthorized, CodeInvalidKey, CodeForbiddenScope, CodeForbiddenOrigin),
		Operator: {resultOK, CodeUnauthorized, CodeInvalidKey, CodeForbiddenOrigin, CodeForbiddenHost},
	} {
		m.results[kind] = make(map[string]*atomic.Uint64)
		for _, code := range codes {
			m.results[kind][code] = new(atomic.Uint64)
		}
	}
	for _, k := range keys {
		m.keys[k.Name] = new(atomic.Uint64)
	}
	return m
}

// Accepted counts a successful authentication.
func (m *Metrics) Accepted(kind Kind) { m.results[kind][resultOK].Add(1) }

// CountKey counts a call that presented this API key.
func (m *Metrics) CountKey(name string) { m.keys[name].Add(1) }

// Refused counts a refusal. keyID names the key that was presented; it is never the key.
func (m *Metrics) Refused(ctx context.Context, kind Kind, code, keyID string) {
	m.results[kind][code].Add(1)
	if times, due := m.shouldLog(refusal{kind, code}); due {
		m.log.LogAttrs(ctx, slog.LevelWarn, "authentication failed", slog.String("kind", string(kind)), slog.String("code", code), slog.String("key", keyID), slog.Int("times", times))
	}
}

// shouldLog reports whether to log a refusal now, and how many refusals the line counts.
func (m *Metrics) shouldLog(what refusal) (times int, due bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.limits[what] == nil {
		m.limits[what] = new(bridge.LogLimiter)
	}
	return m.limits[what].Due(time.Now())
}

// Results returns the counts by kind and result, "ok" or a code.
func (m *Metrics) Results() map[string]map[string]uint64 {
	out := make(map[string]map[string]uint64, len(m.results))
	for kind, counts := range m.results {
		out[string(kind)] = values(counts)
	}
	return out
}

// Keys returns the counts of calls by the name of their API key.
func (m *Metrics) Keys() map[string]uint64 { return values(m.keys) }

func values(counts map[string]*atomic.Uint64) map[string]uint64 {
	out := make(map[string]uint64, len(counts))
	for name, n := range counts {
		out[name] = n.Load()
	}
	return out
}
