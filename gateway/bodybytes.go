package gateway

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
)

// bodyBytes bounds the bytes of all request bodies that are in memory at a time: being
// read, or of calls that wait for their receipt. Safe for concurrent use.
type bodyBytes struct {
	most    int64 // 0: no limit
	largest int64 // body that may come
	used    atomic.Int64
}

// heldBytes is one body's part.
type heldBytes struct {
	of *bodyBytes
	n  int64
}

// take reserves what a request's body may take, before it is read. It reports false
// when there is no room.
func (b *bodyBytes) take(r *http.Request) (heldBytes, bool) {
	n, known := declaredBytes(r)
	if !known {
		n = b.largest
	}
	if used := b.used.Add(n); b.most > 0 && used > max(b.most, n) {
		b.used.Add(-n)
		return heldBytes{}, false
	}
	return heldBytes{b, n}, true
}

// settle gives back what the body, as read, does not take.
func (h *heldBytes) settle(body []byte) {
	n := int64(len(body))
	h.of.used.Add(n - h.n)
	h.n = n
}

// release gives the rest back.
func (h *heldBytes) release() { h.of.used.Add(-h.n) }

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
