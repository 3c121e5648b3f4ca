package publish

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
)

// smallBody is the largest size, in bytes, of a small body: see [bodyMemory].
const smallBody = 64 << 10

// bodyMemory bounds the bytes of all request bodies in memory at a time, of calls that are read
// and of calls that wait for their receipt. Bytes count as they arrive, so that a declared body
// that does not come takes nothing. Small bodies may use a quarter more than the others, so that
// they are accepted while large ones take all memory. Safe for concurrent use.
type bodyMemory struct {
	most    int64 // 0: no limit
	largest int64 // body that may come
	small   int64 // see smallBody
	used    atomic.Int64
}

// errNoMemory means that all bodies together take too much memory.
var errNoMemory = errors.New("too many bytes of request bodies")

// bodyShare is what one body takes of a [bodyMemory]. It belongs to one goroutine.
type bodyShare struct {
	of   *bodyMemory
	from io.ReadCloser
	room int64 // for all bodies, as far as this one is concerned
	read int64
	n    int64 // counted
}

// reserve counts what a request's body takes until its share is released. It reports false when
// there is no memory. Of a compressed body the largest decoded size counts at once.
func (b *bodyMemory) reserve(r *http.Request) (*bodyShare, bool) {
	h := &bodyShare{of: b, from: r.Body, room: b.most}
	declared, known := declaredBytes(r)
	switch {
	case contentEncoding(r) != "":
		declared = b.largest
	case known && declared <= b.small:
		h.room += h.room / 4 // its memory is there at once, see readBody
	default:
		declared = 0
	}
	if !h.count(declared) {
		return nil, false
	}
	r.Body = h
	return h, true
}

// count counts n more, and reports false when that is too much.
func (h *bodyShare) count(n int64) bool {
	if used := h.of.used.Add(n); h.of.most > 0 && used > max(h.room, h.of.largest) {
		h.of.used.Add(-n)
		return false
	}
	h.n += n
	return true
}

// Read reads and counts.
func (h *bodyShare) Read(b []byte) (int, error) {
	n, err := h.from.Read(b)
	h.read += int64(n)
	if h.read > h.n && !h.count(h.read-h.n) {
		return 0, errNoMemory
	}
	return n, err
}

// Close closes the body.
func (h *bodyShare) Close() error { return h.from.Close() }

// settle counts a body as it is in memory.
func (h *bodyShare) settle(body []byte) {
	h.of.used.Add(int64(len(body)) - h.n)
	h.n = int64(len(body))
}

// release ends the share.
func (h *bodyShare) release() { h.settle(nil) }

// declaredBytes is the size of a request's body by its headers. The size of a compressed or
// chunked body is not known before it is read.
func declaredBytes(r *http.Request) (n int64, known bool) {
	return max(r.ContentLength, 0), r.ContentLength >= 0 && contentEncoding(r) == ""
}
