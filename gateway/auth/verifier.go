package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/codewar/socketbridge/bridge"
)

// maxToken is how long a token may be, in bytes.
const maxToken = 16 << 10

// Config says which tokens are accepted.
type Config struct {
	Secrets     []string // HMAC, each `kid:secret`
	KeyFiles    []string // PEM or an HMAC secret; the kid is the file's name without extension
	JWKSURL     string
	JWKSRefresh time.Duration // how often JWKSURL is asked

	Issuer    string        // required `iss`; empty: any
	Audience  []string      // `aud` must have one of them; none: any
	UserClaim string        // the claim that names the user
	Leeway    time.Duration // how far clocks may differ
}

// Verifier believes tokens that are signed with one of its keys. Safe for
// concurrent use. [Verifier.Run] keeps the keys fresh.
type Verifier struct {
	userClaim string
	leeway    time.Duration
	parser    *jwt.Parser
	secrets   []Key
	files     *files
	jwks      *jwks // nil without a URL
}

// Claims are what an accepted token says.
type Claims struct {
	KeyID   string    // of the key that signed it, as the token names it
	Expires time.Time // from when it is not believed any more: `exp` and the leeway
	Scopes  []string  // `scope` or `scp`
	Subject string    // `sub`, "" without one

	user any
}

// Open reads secrets and files. The URL is asked by [Verifier.Run], so that a
// bridge starts while it does not answer.
func Open(cfg Config, log *slog.Logger) (*Verifier, error) {
	log = log.With("component", "auth")
	v := &Verifier{userClaim: cfg.UserClaim, leeway: cfg.Leeway}
	for i, entry := range cfg.Secrets {
		k, err := ParseSecret(entry)
		if err != nil {
			return nil, fmt.Errorf("secret %d: %w", i+1, err)
		}
		v.secrets = append(v.secrets, k)
	}
	var err error
	if v.files, err = openFiles(cfg.KeyFiles, log); err != nil {
		return nil, fmt.Errorf("read key file: %w", err)
	}
	if cfg.JWKSURL != "" {
		v.jwks = newJWKS(cfg.JWKSURL, cfg.JWKSRefresh, log)
	}
	options := []jwt.ParserOption{jwt.WithExpirationRequired(), jwt.WithLeeway(cfg.Leeway), jwt.WithJSONNumber(), jwt.WithStrictDecoding()}
	if cfg.Issuer != "" {
		options = append(options, jwt.WithIssuer(cfg.Issuer))
	}
	if len(cfg.Audience) > 0 {
		options = append(options, jwt.WithAudience(cfg.Audience...))
	}
	v.parser = jwt.NewParser(options...)
	return v, nil
}

// Run keeps the keys fresh until ctx ends.
func (v *Verifier) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { v.files.run(ctx) })
	if v.jwks != nil {
		wg.Go(func() { v.jwks.run(ctx) })
	}
	wg.Wait()
}

// Ready says what is missing: keys that were never fetched.
func (v *Verifier) Ready() error {
	if v.jwks == nil {
		return nil
	}
	if _, loaded := v.jwks.all(); !loaded {
		return errors.New("keys not fetched yet")
	}
	return nil
}

// Verify tells what a token says, or a [*RefusedError]. It waits when the token
// names a key that has to be fetched first: some seconds at most, or until ctx ends.
func (v *Verifier) Verify(ctx context.Context, token string) (Claims, error) {
	if token == "" {
		return Claims{}, refused(CodeMissing, "")
	}
	if len(token) > maxToken {
		return Claims{}, refused(CodeMalformed, "")
	}
	claims := jwt.MapClaims{}
	parsed, err := v.parser.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) { return v.keysFor(ctx, t) })
	kid := ""
	if parsed != nil {
		kid, _ = parsed.Header["kid"].(string)
	}
	if err != nil {
		return Claims{}, refused(codeOf(err), kid)
	}
	exp, err := claims.GetExpirationTime()
	if err != nil || exp == nil {
		return Claims{}, refused(CodeClaimMissing, kid)
	}
	subject, _ := claims["sub"].(string)
	return Claims{KeyID: kid, Expires: exp.Add(v.leeway), Scopes: scopes(claims), Subject: subject, user: claims[v.userClaim]}, nil
}

// keysFor returns the keys that may have signed the token.
func (v *Verifier) keysFor(ctx context.Context, t *jwt.Token) (any, error) {
	if claims, ok := t.Claims.(jwt.MapClaims); !ok || !validDates(claims) {
		return nil, errMalformed
	}
	kid, ok := t.Header["kid"].(string)
	if _, has := t.Header["kid"]; has && !ok || t.Header["crit"] != nil {
		return nil, errMalformed // extensions that must be understood: we know none
	}
	known, loaded := v.known(kid)
	for try := 0; len(known) == 0 && v.jwks != nil && try < 2; try++ { // an answer may have been under way
		wait, cancel := context.WithTimeout(ctx, jwksWait)
		v.jwks.refresh(wait)
		cancel()
		known, loaded = v.known(kid)
	}
	switch {
	case len(known) == 0 && !loaded:
		return nil, errUnavailable
	case len(known) == 0:
		return nil, errUnknownKey
	}
	var set jwt.VerificationKeySet
	for _, k := range known {
		if k.fits(t.Method.Alg()) {
			set.Keys = append(set.Keys, k.value)
		}
	}
	if len(set.Keys) == 0 {
		return nil, errAlgorithm
	}
	return set, nil
}

// lastDate is the last second of the year 9999. Larger numbers overflow the library's
// time: an `nbf` of 1e300 would be long ago.
const lastDate = 253402300799

// validDates reports whether each date of a token is a number of seconds, from 1970 to
// [lastDate]. Dates that are missing are the parser's business.
func validDates(claims jwt.MapClaims) bool {
	for _, name := range []string{"exp", "nbf", "iat"} {
		value, has := claims[name]
		if !has {
			continue
		}
		number, ok := value.(json.Number)
		if !ok {
			return false
		}
		seconds, err := number.Float64()
		if err != nil || seconds < 0 || seconds > lastDate {
			return false
		}
	}
	return true
}

// known returns the keys of that id that are here now. loaded is false when more
// would be here had the URL ever answered.
func (v *Verifier) known(kid string) (keys []Key, loaded bool) {
	keys = append(append(keys, named(v.secrets, kid)...), named(v.files.all(), kid)...)
	if v.jwks == nil {
		return keys, true
	}
	remote, loaded := v.jwks.all()
	return append(keys, named(remote, kid)...), loaded
}

// User is who the token was made for, by the rules of [bridge.ParseUserID].
func (c Claims) User() (bridge.UserID, error) {
	raw, err := json.Marshal(c.user)
	if err != nil {
		return "", refused(CodeUser, c.KeyID)
	}
	user, err := bridge.ParseUserID(raw)
	if err != nil {
		return "", refused(CodeUser, c.KeyID)
	}
	return user, nil
}

// scopes reads `scope`, a text with spaces (RFC 8693), or `scp`, which some
// issuers write instead; either may be a list.
func scopes(claims jwt.MapClaims) (out []string) {
	for _, name := range []string{"scope", "scp"} {
		switch v := claims[name].(type) {
		case string:
			out = append(out, strings.Fields(v)...)
		case []any:
			for _, s := range v {
				if text, ok := s.(string); ok {
					out = append(out, text)
				}
			}
		}
	}
	return out
}

// LooksLikeToken tells a token from an API key, which has no dots.
func LooksLikeToken(s string) bool { return strings.Count(s, ".") == 2 }
