package limit

import (
	"net/http"
	"net/netip"
)

// AddrFunc returns the address that a request comes from, or the zero address when it is
// unknown.
type AddrFunc func(*http.Request) netip.Addr

// Peer returns the other end of the network connection, which may be a proxy.
func Peer(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{} // a unix socket
	}
	return peer.Addr().Unmap()
}

// Shared returns the address by which limits count: for IPv6 its /64, which one customer has.
// It reports false for loopback and unknown addresses, such as those of unix sockets. These are
// never limited, because a proxy on this machine forwards the requests of all its clients.
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
