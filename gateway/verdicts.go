package gateway

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/auth"
)

// authKind is what somebody wanted to be believed for.
type authKind string

const (
	authConnect  authKind = "connect"  // a page, at its handshake or when it names a user
	authRefresh  authKind = "refresh"  // a page with its next token
	authPublish  authKind = "publish"  // a caller of /sendPayload
	authOperator authKind = "operator" // a caller of an operators' route
)

// authOK is the result of those who are believed; the others' is their code.
const authOK = "ok"

// verdicts counts who was believed and who was not, and says so in the log without
// letting an attacker fill it.
type verdicts struct {
	log    *slog.Logger
	counts map[authKind]map[string]*atomic.Uint64 // never changed after newVerdicts
	keys   map[string]*atomic.Uint64              // calls by the name of their API key; the same

	mu    sync.Mutex // guards quiet
	quiet map[verdict]*bridge.Quiet
}

type verdict struct {
	kind authKind
	code string
}

func newVerdicts(cfg AuthConfig, log *slog.Logger) *verdicts {
	v := &verdicts{log: log, counts: make(map[authKind]map[string]*atomic.Uint64), keys: make(map[string]*atomic.Uint64), quiet: make(map[verdict]*bridge.Quiet)}
	for kind, codes := range map[authKind][]string{
		authConnect:  append(auth.Codes(), authOK, codeForbiddenUser),
		authRefresh:  append(auth.Codes(), authOK),
		authPublish:  append(auth.Codes(), authOK, codeUnauthorized, codeInvalidKey, codeForbiddenScope, codeForbiddenOrigin),
		authOperator: {authOK, codeUnauthorized, codeInvalidKey, codeForbiddenOrigin, codeForbiddenHost},
	} {
		v.counts[kind] = make(map[string]*atomic.Uint64)
		for _, code := range codes {
			v.counts[kind][code] = new(atomic.Uint64)
		}
	}
	for _, k := range cfg.APIKeys {
		v.keys[k.Name] = new(atomic.Uint64)
	}
	return v
}

func (v *verdicts) ok(kind authKind) { v.counts[kind][authOK].Add(1) }

// refused counts a refusal. key is what it was tried with, by name, never the key.
func (v *verdicts) refused(ctx context.Context, kind authKind, code, key string) {
	v.counts[kind][code].Add(1)
	if times, due := v.worthALine(verdict{kind, code}); due {
		v.log.LogAttrs(ctx, slog.LevelWarn, "not believed", slog.String("kind", string(kind)), slog.String("code", code), slog.String("key", key), slog.Int("times", times))
	}
}

// worthALine reports whether to log, and how many refusals the line stands for.
func (v *verdicts) worthALine(what verdict) (times int, due bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.quiet[what] == nil {
		v.quiet[what] = new(bridge.Quiet)
	}
	return v.quiet[what].Due(time.Now())
}

// AuthStats counts who was believed and who was not.
type AuthStats struct {
	Results map[string]map[string]uint64 // by what for, then "ok" or the code of the refusal
	Keys    map[string]uint64            // calls of /sendPayload by the name of their API key
	Expired uint64                       // sockets closed because their token had expired
}

// AuthStats returns the counts at this moment.
func (s *Server) AuthStats() AuthStats {
	v := s.events.verdicts
	out := AuthStats{Results: make(map[string]map[string]uint64), Keys: make(map[string]uint64), Expired: s.events.expiries.ended.Load()}
	for kind, counts := range v.counts {
		out.Results[string(kind)] = make(map[string]uint64)
		for code, n := range counts {
			out.Results[string(kind)][code] = n.Load()
		}
	}
	for name, n := range v.keys {
		out.Keys[name] = n.Load()
	}
	return out
}
