package auth

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
)

const (
	jwksTimeout = 5 * time.Second
	jwksBytes   = 1 << 20 // of an answer
	// jwksGap is the least time between two requests, however many tokens name
	// keys that are not known.
	jwksGap = 2 * time.Second
	// jwksRetry is how soon an answer that did not come is asked for again.
	jwksRetry = 10 * time.Second
	// jwksWait is the longest that a token waits for its key.
	jwksWait = jwksTimeout + jwksGap
)

// jwks are the keys behind a URL (RFC 7517). What was fetched stays in force
// while the URL does not answer. One goroutine fetches. Callers that miss a key
// request it, and share the next answer.
type jwks struct {
	url    string
	every  time.Duration
	client *http.Client
	log    *slog.Logger
	wanted chan struct{} // capacity 1: a caller misses a key

	mu      sync.RWMutex // guards what follows
	keys    []Key        // replaced, never changed
	loaded  bool
	fetched chan struct{} // closed and replaced after each attempt
}

func newJWKS(url string, every time.Duration, log *slog.Logger) *jwks {
	return &jwks{
		url:   url,
		every: every,
		client: &http.Client{
			Timeout: jwksTimeout,
			// Where the keys are is the operator's decision, not the server's.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		log:     log,
		wanted:  make(chan struct{}, 1),
		fetched: make(chan struct{}),
	}
}

// run fetches the keys at once, when they are due, and when one is missed, until ctx ends.
func (j *jwks) run(ctx context.Context) {
	defer j.client.CloseIdleConnections()
	for ctx.Err() == nil {
		next := j.every
		if err := j.fetch(ctx); err != nil && ctx.Err() == nil {
			j.log.LogAttrs(ctx, slog.LevelWarn, "keys not fetched, those known stay", slog.Any("err", err))
			next = min(next, jwksRetry)
		}
		j.mu.Lock()
		close(j.fetched)
		j.fetched = make(chan struct{})
		j.mu.Unlock()
		j.pause(ctx, next)
	}
}

// pause lasts for next, or shorter when a key is missed.
func (j *jwks) pause(ctx context.Context, next time.Duration) {
	gap, due := time.After(min(jwksGap, next)), time.After(next)
	select {
	case <-gap:
	case <-ctx.Done():
		return
	}
	select {
	case <-j.wanted:
	case <-due:
	case <-ctx.Done():
	}
}

// all returns the keys, and whether they were ever fetched.
func (j *jwks) all() ([]Key, bool) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.keys, j.loaded
}

// refresh has the keys fetched and waits for it, at most until ctx ends.
func (j *jwks) refresh(ctx context.Context) {
	j.mu.RLock()
	fetched := j.fetched
	j.mu.RUnlock()
	select {
	case j.wanted <- struct{}{}:
	default: // requested already
	}
	select {
	case <-fetched:
	case <-ctx.Done():
	}
}

// fetch replaces the keys by those that the URL answers with. An answer without a
// usable key is an error: a mistake at the other end must not shut everybody out.
func (j *jwks) fetch(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, j.url, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "application/json")
	res, err := j.client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	var set jwkset.JWKSMarshal
	if err := json.NewDecoder(io.LimitReader(res.Body, jwksBytes)).Decode(&set); err != nil {
		return fmt.Errorf("decode key set: %w", err)
	}
	keys := j.usable(ctx, set)
	if len(keys) == 0 {
		return errors.New("key set has no public key for signatures")
	}
	j.mu.Lock()
	before, first := j.keys, !j.loaded
	j.keys, j.loaded = keys, true
	j.mu.Unlock()
	if first || ids(before) != ids(keys) {
		j.log.LogAttrs(ctx, slog.LevelInfo, "keys changed", slog.String("keys", ids(keys)))
	}
	return nil
}

// usable leaves out what is not for signatures, secrets, which no URL should
// tell, and kinds that are not known here.
func (j *jwks) usable(ctx context.Context, set jwkset.JWKSMarshal) (keys []Key) {
	for _, m := range set.Keys {
		if m.USE != "" && m.USE != jwkset.UseSig || m.KTY == jwkset.KtyOct {
			continue
		}
		k, err := parseJWK(m)
		if err != nil {
			j.log.LogAttrs(ctx, slog.LevelWarn, "key left out", slog.String("key", m.KID), slog.Any("err", err))
			continue
		}
		keys = append(keys, k)
	}
	return keys
}

func parseJWK(m jwkset.JWKMarshal) (Key, error) {
	parsed, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil {
		return Key{}, err
	}
	value := parsed.Key()
	if private, ok := value.(interface{ Public() crypto.PublicKey }); ok {
		value = private.Public()
	}
	k, err := newKey(m.KID, value)
	k.alg = m.ALG.String()
	return k, err
}
