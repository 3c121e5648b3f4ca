package sio

import (
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// Compression of what a GET of polling is answered with (RFC 9110, section 8.4).

var zippers = sync.Pool{New: func() any {
	w, _ := gzip.NewWriterLevel(nil, deflateLevel) // fails for a level that does not exist
	return w
}}

// zip returns the body of the answer: the payload or, as the header of the answer then says, the
// compressed payload.
func (c *conn) zip(payload *buffer, request, answer http.Header) *buffer {
	least := c.srv.cfg.CompressAbove
	if least <= 0 {
		return payload
	}
	answer.Add("Vary", "Accept-Encoding")
	if len(payload.b) < least || !AcceptsGzip(request) {
		return payload
	}
	small := buffers.Get().(*buffer)
	w := zippers.Get().(*gzip.Writer)
	defer zippers.Put(w)
	w.Reset(small)
	_, _ = w.Write(payload.b) // a buffer takes all
	_ = w.Close()
	if len(small.b) >= len(payload.b) {
		small.release()
		return payload
	}
	answer.Set("Content-Encoding", "gzip")
	c.wrote(len(payload.b) - len(small.b)) // less waits to be written
	payload.release()
	return small
}

// AcceptsGzip reports whether a request accepts gzip by Accept-Encoding.
func AcceptsGzip(request http.Header) bool {
	for _, line := range request["Accept-Encoding"] {
		for coding := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(coding, ";")
			if !strings.EqualFold(strings.TrimSpace(name), "gzip") {
				continue
			}
			_, weight, weighed := strings.Cut(params, "q=")
			q, err := strconv.ParseFloat(strings.TrimSpace(weight), 32)
			return !weighed || err == nil && q > 0
		}
	}
	return false
}
