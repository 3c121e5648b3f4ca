package publish

import (
	"cmp"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/codewar/socketbridge/gateway/apierror"
	"github.com/codewar/socketbridge/gateway/limit"
)

// Limits of calls, as they are counted.
const (
	limitCallRate  = "payload_rate"  // Config.CallsPerSecond
	limitByteRate  = "payload_bytes" // Config.BytesPerSecond
	limitBodyBytes = "body_bytes"    // Config.BodyBytes
	limitReadTime  = "read_time"     // Config.ReadTimeout
)

// Limits names the limits of calls.
func Limits() []string { return []string{limitCallRate, limitByteRate, limitBodyBytes, limitReadTime} }

// maxSubject is the longest subject of a token, in bytes, that identifies a caller. Callers with
// longer subjects are identified by their address.
const maxSubject = 128

// caller identifies a caller for the limits: the name of its API key, or the subject of its
// token, from any address; for others the address. The zero caller is not limited.
type caller struct {
	key, subject string
	from         netip.Addr
}

// byAddress identifies a caller by its address. This machine is not limited.
func byAddress(from netip.Addr) caller {
	shared, limited := limit.Shared(from)
	if !limited {
		return caller{}
	}
	return caller{from: shared}
}

// callerLimits bounds the rate of each caller's calls and of the bytes of their bodies.
// Safe for concurrent use.
type callerLimits struct {
	calls    *limit.Rates[caller]
	bytes    *limit.Rates[caller]
	largest  int64 // bytes of one body
	refusals *limit.RefusalCounter
}

func newCallerLimits(cfg Config, refusals *limit.RefusalCounter) callerLimits {
	return callerLimits{
		calls:   limit.NewRates[caller](cfg.CallsPerSecond, cfg.CallBurst),
		bytes:   limit.NewRates[caller](cfg.BytesPerSecond, max(cfg.BytesBurst, int(cfg.MaxBody))),
		largest: cfg.MaxBody, refusals: refusals,
	}
}

// take counts a call and the bytes that its headers declare. It rejects the call when it is one
// too many.
func (l *callerLimits) take(who caller, from netip.Addr, r *http.Request) *rejection {
	if who == (caller{}) {
		return nil
	}
	now := time.Now()
	if wait, ok := l.calls.Allow(who, now); !ok {
		return l.tooMany(limitCallRate, who, from, wait)
	}
	n, _ := declaredBytes(r)
	if wait, ok := l.bytes.AllowN(who, int(min(n, l.largest)), now); !ok {
		return l.tooMany(limitByteRate, who, from, wait)
	}
	return nil
}

// exhausted rejects a call from an address that has called too often already. It counts nothing.
func (l *callerLimits) exhausted(from netip.Addr) *rejection {
	who := byAddress(from)
	if who == (caller{}) {
		return nil
	}
	wait, exhausted := l.calls.Spent(who, time.Now())
	if !exhausted {
		return nil
	}
	return l.tooMany(limitCallRate, who, from, wait)
}

// count counts a call without limiting it.
func (l *callerLimits) count(who caller) { l.calls.Allow(who, time.Now()) }

// charge counts the bytes of a body that were not declared.
func (l *callerLimits) charge(who caller, r *http.Request, body []byte) {
	if _, declared := declaredBytes(r); declared || who == (caller{}) {
		return
	}
	l.bytes.Charge(who, len(body), time.Now())
}

func (l *callerLimits) tooMany(name string, who caller, from netip.Addr, wait time.Duration) *rejection {
	var facts []slog.Attr
	if text := cmp.Or(who.key, who.subject); text != "" {
		facts = append(facts, slog.String("caller", text))
	}
	l.refusals.Add(name, from, facts...)
	return &rejection{status: http.StatusTooManyRequests, code: apierror.RateLimited, message: "Too many calls, or too large ones", retryAfter: max(wait, 1)}
}
