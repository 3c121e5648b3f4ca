package gateway

import (
	"maps"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/codewar/socketbridge/gateway/limit"
)

// answerTime is how long an answer may take to be written, beside what came before it.
const answerTime = 10 * time.Second

// Refusals counts what was refused, by limit, also with zero.
func (s *Server) Refusals() map[string]uint64 {
	all := s.refusals.Counts()
	maps.Copy(all, s.sio.Stats().Refusals)
	return all
}

// clientAddr tells who a request is from. X-Forwarded-For counts only as far as
// proxies of these networks have written it: anybody else may write anything.
func clientAddr(proxies []netip.Prefix) limit.AddrFunc {
	if len(proxies) == 0 {
		return limit.Peer
	}
	trust := []echo.TrustOption{echo.TrustLoopback(false), echo.TrustLinkLocal(false), echo.TrustPrivateNet(false)}
	for _, p := range proxies {
		bits := p.Addr().BitLen()
		trust = append(trust, echo.TrustIPRange(&net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), bits)}))
	}
	extract := echo.ExtractIPFromXFFHeader(trust...)
	return func(r *http.Request) netip.Addr {
		a, err := netip.ParseAddr(extract(r))
		if err != nil {
			return limit.Peer(r)
		}
		return a.Unmap()
	}
}
