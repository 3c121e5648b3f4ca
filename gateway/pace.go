package gateway

import (
	"cmp"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/codewar/socketbridge/gateway/limit"
)

// maxSubject is how long a token's subject may be, in bytes, to be remembered as a
// caller. Longer ones count by address.
const maxSubject = 128

// caller is for whom a call of /sendPayload counts: an API key, by its name, or the
// subject of a token, wherever they call from; for others the address. The zero
// caller is nobody, and not limited.
type caller struct {
	key, subject string
	from         netip.Addr
}

// byAddress is the caller of whom nothing else is known. This machine is nobody.
func byAddress(from netip.Addr) caller {
	shared, limited := limit.Shared(from)
	if !limited {
		return caller{}
	}
	return caller{from: shared}
}

// pace is how often each may call /sendPayload.
type pace struct {
	rates    *limit.Rates[caller]
	bytes    *limit.Rates[caller]
	largest  int64 // body that may come
	refusals *limit.RefusalCounter
	client   limit.AddrFunc
}

func newPace(cfg Config, client limit.AddrFunc, refusals *limit.RefusalCounter) *pace {
	return &pace{
		rates:   limit.NewRates[caller](cfg.PayloadsPerSecond, cfg.PayloadBurst),
		bytes:   limit.NewRates[caller](cfg.PayloadBytesPerSecond, max(cfg.PayloadBytesBurst, int(cfg.MaxBody))),
		largest: cfg.MaxBody, refusals: refusals, client: client,
	}
}

// take counts a call of who, from that address, and the bytes that its headers declare.
// It says whether it is one too many.
func (p *pace) take(who caller, from netip.Addr, r *http.Request) *denial {
	if who == (caller{}) {
		return nil
	}
	now := time.Now()
	if wait, ok := p.rates.Allow(who, now); !ok {
		return p.tooMany(limitPayloadRate, who, from, wait)
	}
	n, _ := declaredBytes(r)
	if wait, ok := p.bytes.AllowN(who, int(min(n, p.largest)), now); !ok {
		return p.tooMany(limitPayloadBytes, who, from, wait)
	}
	return nil
}

// spent says whether an address has called too often already. It counts nothing.
func (p *pace) spent(from netip.Addr) *denial {
	who := byAddress(from)
	if who == (caller{}) {
		return nil
	}
	wait, spent := p.rates.Spent(who, time.Now())
	if !spent {
		return nil
	}
	return p.tooMany(limitPayloadRate, who, from, wait)
}

func (p *pace) tooMany(name string, who caller, from netip.Addr, wait time.Duration) *denial {
	var caller []slog.Attr
	if text := cmp.Or(who.key, who.subject); text != "" {
		caller = append(caller, slog.String("caller", text))
	}
	p.refusals.Add(name, from, caller...)
	return &denial{status: http.StatusTooManyRequests, code: codeRateLimited, message: "Too many calls, or too large ones", wait: max(wait, 1)}
}
