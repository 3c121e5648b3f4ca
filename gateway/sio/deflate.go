package sio

import (
	"bytes"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/flate"
)

// Compression of messages to a websocket (permessage-deflate, RFC 7692). Neither side keeps a
// window from one message to the next, so an idle connection holds no memory for it, and all
// connections share a compressed message.

// deflateLevel is the fastest level. The next ones save a few per cent of the bytes and take a
// third more time: docs/bench/compression.md.
const deflateLevel = flate.BestSpeed

// deflaters are shared because each has hundreds of kilobytes.
var deflaters = sync.Pool{New: func() any {
	w, _ := flate.NewWriter(nil, deflateLevel) // fails for a level that does not exist
	return w
}}

// flushed is the end of each compressed message, which the receiver adds (RFC 7692, section
// 7.2.1).
var flushed = []byte{0, 0, 0xff, 0xff}

// form returns the packet as the link gets it. With c.mu held and a link.
func (c *conn) form(p *Packet) []byte {
	if !c.link.deflates || len(p.text) < c.srv.cfg.CompressAbove {
		return p.frame
	}
	return p.deflated()
}

// deflated returns the packet as a compressed frame, or the plain frame when that is not longer.
// The first call compresses, for all connections.
func (p *Packet) deflated() []byte {
	p.compress.Do(func() {
		w, out := deflaters.Get().(*flate.Writer), buffers.Get().(*buffer)
		defer deflaters.Put(w)
		defer out.release()
		w.Reset(out)
		_, _ = w.Write(p.text) // a buffer cannot fail
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

// negotiateDeflate decides whether messages may be compressed. It returns the request with an
// offer that gorilla accepts, or with none: gorilla accepts any offer, also one that it cannot
// keep, and does not report whether it has.
func negotiateDeflate(r *http.Request, allowed bool) (_ *http.Request, deflates bool) {
	offers := r.Header[extensionsHeader]
	if len(offers) == 0 {
		return r, false
	}
	deflates = allowed && slices.ContainsFunc(offers, offersDeflate)
	negotiated := *r // the Handler gets the header that the client has sent
	negotiated.Header = r.Header.Clone()
	negotiated.Header.Del(extensionsHeader)
	if deflates {
		negotiated.Header.Set(extensionsHeader, deflateExtension)
	}
	return &negotiated, deflates
}

// An offer is acceptable by RFC 7692, section 7.1, unless a parameter is unknown, is repeated,
// has a wrong value or asks for a smaller window of ours, which this package does not have. The
// answer is always the same: no side keeps its window.
var (
	offerPattern = regexp.MustCompile(`(?:"(?:\\.|[^"\\])*"?|[^",])+`) // up to a comma that is not quoted
	acceptable   = regexp.MustCompile(`^\s*` + deflateExtension + `\s*(?:;\s*(?:server_no_context_takeover|client_no_context_takeover|` +
		`client_max_window_bits(?:\s*=\s*(?:[89]|1[0-5]|"(?:[89]|1[0-5])"))?)\s*)*$`)
	paramPattern = regexp.MustCompile(`;\s*\w+`)
)

// offersDeflate reports whether a line of the header has an acceptable offer.
func offersDeflate(line string) bool {
	const most = 512 // bytes; a longer line is not worth the time
	if len(line) > most {
		return false
	}
	for _, offer := range offerPattern.FindAllString(line, -1) {
		params := paramPattern.FindAllString(strings.ReplaceAll(offer, " ", ""), -1)
		slices.Sort(params)
		if acceptable.MatchString(offer) && len(params) == len(slices.Compact(params)) {
			return true
		}
	}
	return false
}
