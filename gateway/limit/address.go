package limit

import (
	"net/http"
	"net/netip"
)

// AddrFunc tells the address that a request comes from. The zero address stands
// for one that cannot be told.
type AddrFunc func(*http.Request) netip.Addr

// Peer is the other end of the network connection: a proxy, if there is one.
func Peer(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{} // a unix socket has none
	}
	return peer.Addr().Unmap()
}

// Shared is the address as the limits see it: an IPv6 customer has a /64, and so
// more addresses than any table. It reports false for this machine's own, which
// is never limited: it is where a proxy that nobody has named comes from, with
// everybody behind it. A unix socket has no address, and is of this machine too.
func Shared(a netip.Addr) (netip.Addr, bool) {
	a = a.Unmap().WithZone("")
	if !a.IsValid() || a.IsLoopback() {
		return a, false
	}
	if a.Is6() {
		return netip.PrefixFrom(a, 64).Masked().Addr(), true
	}
	return a, true
}
