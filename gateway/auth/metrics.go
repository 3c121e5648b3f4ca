package auth

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/internal/metrics"
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
	results map[result]*counter           // read-only after NewMetrics
	keys    map[string]prometheus.Counter // by the name of the API key; read-only after NewMetrics
}

// result is what an authentication came to: resultOK, or the code of a refusal.
type result struct {
	kind Kind
	code string
}

type counter struct {
	prometheus.Counter
	lines bridge.LogLimiter
}

// NewMetrics makes the counters, with zeros, of all results and of these API keys.
func NewMetrics(keys []APIKey, reg prometheus.Registerer, log *slog.Logger) *Metrics {
	m := &Metrics{log: log, results: make(map[result]*counter), keys: make(map[string]prometheus.Counter)}
	for kind, codes := range map[Kind][]string{
		Connect:  append(Codes(), resultOK, CodeForbiddenUser),
		Refresh:  append(Codes(), resultOK),
		Publish:  append(Codes(), resultOK, CodeUnauthorized, CodeInvalidKey, CodeForbiddenScope, CodeForbiddenOrigin),
		Operator: {resultOK, CodeUnauthorized, CodeInvalidKey, CodeForbiddenOrigin, CodeForbiddenHost},
	} {
		for _, code := range codes {
			m.results[result{kind, code}] = &counter{Counter: metrics.Counter(reg, "bridge_auth_total",
				"Pages, callers and operators who wanted to be believed, by what for and result: ok, or the code of the refusal.", "kind", string(kind), "result", code)}
		}
	}
	for _, k := range keys {
		m.keys[k.Name] = metrics.Counter(reg, "bridge_api_key_calls_total", "Calls of /sendPayload that were let in by an API key, by its name.", "key", k.Name)
	}
	return m
}

// Accepted counts a successful authentication.
func (m *Metrics) Accepted(kind Kind) { m.results[result{kind, resultOK}].Inc() }

// CountKey counts a call that presented this API key.
func (m *Metrics) CountKey(name string) { m.keys[name].Inc() }

// Refused counts a refusal. keyID names the key that was presented; it is never the key.
func (m *Metrics) Refused(ctx context.Context, kind Kind, code, keyID string) {
	c := m.results[result{kind, code}]
	c.Inc()
	if times, due := c.lines.Due(time.Now()); due {
		m.log.LogAttrs(ctx, slog.LevelWarn, "authentication failed", slog.String("kind", string(kind)), slog.String("code", code), slog.String("key", keyID), slog.Int("times", times))
	}
}
