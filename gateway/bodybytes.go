package gateway

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
)

// smallBody is how long a body may be to count as small, see [bodyBytes].
const smallBody = 64 << 10

// bodyBytes bounds the bytes of all request bodies that are in memory at a time: being
// read, or of calls that wait for their receipt. They count as they arrive, so that a
// body which is declared and does not come takes nothing. Small bodies have a
// quarter more, so that they get in while large ones take all. Safe for concurrent use.
type bodyBytes struct {
	most    int64 // 0: no limit
	largest int64 // body that may come
	small   int64 // see smallBody
	used    atomic.Int64
}

// errNoRoom ends the reading of a body when all bodies together are too large.
var errNoRoom = errors.New("too many bytes of request bodies")

// heldBytes is one body's part. It belongs to one goroutine.
type heldBytes struct {
	of   *bodyBytes
	from io.ReadCloser
	room int64 // for all bodies, as far as this one is concerned
	read int64
	n    int64 // counted
}

// hold counts what a request's body takes until it is released. It reports false when
// there is no room. What a compressed body becomes counts before it is read.
func (b *bodyBytes) hold(r *http.Request) (*heldBytes, bool) {
	h := &heldBytes{of: b, from: r.Body, room: b.most}
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
func (h *heldBytes) count(n int64) bool {
	if used := h.of.used.Add(n); h.of.most > 0 && used > max(h.room, h.of.largest) {
		h.of.used.Add(-n)
		return false
	}
	h.n += n
	return true
}

// Read reads and counts.
func (h *heldBytes) Read(b []byte) (int, error) {
	n, err := h.from.Read(b)
	h.read += int64(n)
	if h.read > h.n && !h.count(h.read-h.n) {
		return 0, errNoRoom
	}
	return n, err
}

// Close closes the body.
func (h *heldBytes) Close() error { return h.from.Close() }

// settle counts a body as it is in memory.
func (h *heldBytes) settle(body []byte) {
	h.of.used.Add(int64(len(body)) - h.n)
	h.n = int64(len(body))
}

// release gives everything back.
func (h *heldBytes) release() { h.settle(nil) }

// declaredBytes is how long a request's body is by its headers. What is compressed, or
// comes in chunks, is not known before it is read.
func declaredBytes(r *http.Request) (n int64, known bool) {
	return max(r.ContentLength, 0), r.ContentLength >= 0 && contentEncoding(r) == ""
}

// callerKey is where the context of a call has its [caller].
const callerKey = "caller"

// charge counts for the caller the bytes of a body that it had not declared.
func (p *pace) charge(c echo.Context, body []byte) {
	who, _ := c.Get(callerKey).(caller)
	if _, known := declaredBytes(c.Request()); known || who == (caller{}) {
		return
	}
	p.bytes.Charge(who, len(body), time.Now())
}
