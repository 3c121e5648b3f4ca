package gateway

import (
	"net/http"
	"slices"
	"strings"
)

// proxyHeaders are the headers that proxies, balancers and content delivery networks
// add to a request. Programs that ask for themselves send none of them.
var proxyHeaders = []string{
	"Forwarded", "Via", "Client-Ip", "True-Client-Ip", "Cdn-Loop", "Front-End-Https",
	"Max-Forwards", "Wl-Proxy-Client-Ip", "X-Host", "X-Scheme", "X-Coming-From", "X-Rewrite-Url",
	"X-Sendfile-Type", "X-Accel-Internal", "X-Request-Start", "X-Queue-Start", "X-Cloud-Trace-Context",
}

// proxyPrefixes begin the names of further such headers, such as X-Forwarded-For and
// Cf-Connecting-Ip.
var proxyPrefixes = []string{
	"X-Forwarded", "X-Forwarder", "X-Original-", "X-Real-", "X-Client-", "X-Cluster-", "X-Remote-", "X-Proxy",
	"X-Envoy-", "X-Amzn-", "X-Amz-", "X-Azure-", "X-Appengine-", "X-Arr-", "X-Varnish", "X-Ssl-", "X-Akamai-", "X-Nginx-",
	"Cf-", "Fastly-", "Fly-", "Ali-", "Akamai-", "Incap-", "Proxy-",
}

// proxied reports whether a request carries any sign of a proxy. A header counts also
// when it is empty or spelled with underscores. HTTP/1.0 counts because nginx speaks it
// to its upstreams by default, even where it adds no header.
func proxied(r *http.Request) bool {
	if !r.ProtoAtLeast(1, 1) {
		return true
	}
	for name := range r.Header {
		name = http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
		if slices.Contains(proxyHeaders, name) || slices.ContainsFunc(proxyPrefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
			return true
		}
	}
	return false
}
