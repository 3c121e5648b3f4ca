package sio

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/flate"
)

// Compression of what goes to a websocket (permessage-deflate, RFC 7692), one
// message at a time: neither side keeps a window from one message to the next, so
// an idle connection holds nothing for it, and what one connection is sent fits
// all others.

// deflateLevel is the cheapest. The next ones save a few per cent of the bytes for
// a third more time: docs/bench/compression.md.
const deflateLevel = flate.BestSpeed

// deflaters are shared because each has hundreds of kilobytes.
var deflaters = sync.Pool{New: func() any {
	w, _ := flate.NewWriter(nil, deflateLevel) // fails for a level that does not exist
	return w
}}

// flushed ends what was compressed. The receiver puts it back (RFC 7692, section 7.2.1).
var flushed = []byte{0, 0, 0xff, 0xff}

// form is what a link is sent of the packet. With c.mu held and a link.
func (c *conn) form(p *Packet) []byte {
	if !c.link.deflates || len(p.text) < c.srv.cfg.CompressAbove {
		return p.frame
	}
	return p.deflated()
}

// deflated is the packet as a compressed frame, or the plain one when that is not
// longer. The first call compresses, for all who share the packet.
func (p *Packet) deflated() []byte {
	p.compress.Do(func() {
		w, out := deflaters.Get().(*flate.Writer), buffers.Get().(*buffer)
		defer deflaters.Put(w)
		defer out.release()
		w.Reset(out)
		_, _ = w.Write(p.text) // a buffer takes all
		_ = w.Flush()
		text := bytes.TrimSuffix(out.b, flushed)
		if len(text) < len(p.text) {
			p.small = append(appendFrameHeader(p.small, opText|compressed, len(text)), text...)
		}
	})
	if len(p.small) == 0 {
		return p.frame
	}
	return p.small
}

const (
	extensionsHeader = "Sec-Websocket-Extensions"
	deflateExtension = "permessage-deflate"
)

// settle decides whether messages may be compressed, and returns the request with
// an offer that gorilla accepts, or with none. Of itself gorilla accepts any offer,
// also one that it cannot keep, and does not say whether it has.
func settle(r *http.Request, allowed bool) (_ *http.Request, deflates bool) {
	if _, offers := r.Header[extensionsHeader]; !offers {
		return r, false
	}
	deflates = allowed && offersDeflate(r.Header[extensionsHeader])
	settled := *r // the Handler is to see what the client has sent
	settled.Header = r.Header.Clone()
	settled.Header.Del(extensionsHeader)
	if deflates {
		settled.Header.Set(extensionsHeader, deflateExtension)
	}
	return &settled, deflates
}

// offersDeflate reports whether there is an offer of compression among the
// extensions that we can keep. Our answer is always the same: no side keeps its
// window.
func offersDeflate(lines []string) bool {
	for _, line := range lines {
		for more := true; more; {
			var offer string
			if offer, line, more = cutUnquoted(line, ','); acceptable(offer) {
				return true
			}
		}
	}
	return false
}

// acceptable holds one offer against RFC 7692, section 7.1: a parameter that is
// unknown, comes twice or has a wrong value makes it void, and so does asking us to
// use a smaller window, which we cannot.
func acceptable(offer string) bool {
	name, rest, more := cutUnquoted(offer, ';')
	if strings.TrimSpace(name) != deflateExtension {
		return false
	}
	var seen []string
	for more {
		var param string
		param, rest, more = cutUnquoted(rest, ';')
		key, value, hasValue := strings.Cut(param, "=")
		key = strings.TrimSpace(key)
		if slices.Contains(seen, key) {
			return false
		}
		seen = append(seen, key)
		switch key {
		case "server_no_context_takeover", "client_no_context_takeover":
			if hasValue {
				return false
			}
		case "client_max_window_bits": // what it could do with; we do not ask it to
			if hasValue && !windowBits(value) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// windowBits accepts 8 to 15, which may be quoted.
func windowBits(value string) bool {
	value = strings.TrimSpace(value)
	if n := len(value); n > 1 && value[0] == '"' && value[n-1] == '"' {
		value = value[1 : n-1]
	}
	switch value {
	case "8", "9", "10", "11", "12", "13", "14", "15":
		return true
	}
	return false
}

// cutUnquoted is strings.Cut at the first sep that is not in a quoted string.
func cutUnquoted(s string, sep byte) (before, after string, found bool) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == sep && !quoted:
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}
