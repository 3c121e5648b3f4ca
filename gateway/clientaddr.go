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

// answerTime is how long writing an answer may take.
const answerTime = 10 * time.Second

// Refusals counts refusals by limit, also with zero.
func (s *Server) Refusals() map[string]uint64 {
	all := s.refusals.Counts()
	maps.Copy(all, s.sio.Stats().Refusals)
	return all
}

// clientAddr returns the function that tells the address of a request's client. Of X-Forwarded-For
// only the part that proxies of these networks have written counts: clients may write anything.
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
