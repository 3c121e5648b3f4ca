package publish

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/codewar/socketbridge/gateway/apierror"
	"github.com/codewar/socketbridge/gateway/limit"
)

// body reads the body of a call, in at most so much memory as all bodies together may take.
// The caller releases its share when the call has been answered.
func (h *Handler) body(c echo.Context, who caller) ([]byte, *bodyShare, *rejection) {
	r := c.Request()
	if code, message := unsupported(r); code != "" {
		return nil, nil, &rejection{status: http.StatusUnsupportedMediaType, code: code, message: message}
	}
	raw := r.Body
	if r.ContentLength < 0 {
		raw = throttleChunked(raw, h.cfg.ChunkRate)
	}
	if r.ContentLength > h.cfg.MaxBody {
		return nil, nil, h.rejectBody(c, raw, errTooLarge)
	}
	r.Body = http.MaxBytesReader(c.Response(), raw, h.cfg.MaxBody)
	share, ok := h.memory.reserve(r)
	if !ok {
		return nil, nil, h.rejectBody(c, raw, errNoMemory)
	}
	began := time.Now()
	body, err := readJSON(r, h.cfg.MaxBody)
	share.settle(body)
	h.admission.limits.charge(who, r, body)
	if err != nil {
		share.release()
		return nil, nil, h.rejectBody(c, raw, err)
	}
	if time.Since(began) > h.cfg.bodySlack() {
		// The deadline was the body's. It must not end the wait for the receipt.
		_ = http.NewResponseController(c.Response()).SetReadDeadline(time.Time{})
	}
	return body, share, nil
}

// rejectBody is the rejection of a body that was not read to its end. raw is what is left of it.
func (h *Handler) rejectBody(c echo.Context, raw io.Reader, err error) *rejection {
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case errors.Is(err, errNoMemory):
		h.refusals.Add(limitBodyBytes, h.cfg.ClientAddr(c.Request()))
		return &rejection{status: http.StatusServiceUnavailable, code: apierror.Unavailable, message: "Too many large calls at once, try again"}
	case errors.Is(err, errEncoding):
		return &rejection{status: http.StatusBadRequest, code: apierror.InvalidEncoding, message: "Body does not decode as its Content-Encoding says"}
	case tooLarge || errors.Is(err, errTooLarge):
		drainBody(c, raw)
		return &rejection{status: http.StatusRequestEntityTooLarge, code: apierror.TooLarge, message: "Body is too large"}
	case errors.Is(err, os.ErrDeadlineExceeded):
		h.refusals.Add(limitReadTime, h.cfg.ClientAddr(c.Request()))
		return &rejection{status: http.StatusRequestTimeout, code: apierror.SlowRequest, message: "The body did not come in time"}
	}
	return &rejection{status: http.StatusBadRequest, code: apierror.InvalidRequest, message: "The body ended early or is malformed"}
}

// throttleChunked bounds how many bytes a second are read of a body without a declared length.
// Other bodies are refused before they are read when they are too large.
func throttleChunked(body io.ReadCloser, perSecond int) io.ReadCloser {
	return struct {
		io.Reader
		io.Closer
	}{limit.Paced(body, perSecond), body}
}

// drainBody reads some of a body that is refused: a client that is still writing when the
// connection is closed would see a reset and not the answer. Less is read of a body without a
// declared length, which may be an attack.
func drainBody(c echo.Context, raw io.Reader) {
	const longest, perSecond = 2 * time.Second, 4 << 20
	most := int64(8 << 20)
	if c.Request().ContentLength < 0 {
		most = 1 << 20
	}
	_ = http.NewResponseController(c.Response()).SetReadDeadline(time.Now().Add(longest)) // without one, the server's own holds
	_, _ = io.CopyN(io.Discard, limit.Paced(raw, perSecond), most)                        // its end or its error: both will do
}

// readBody reads a body of declared length. The buffer grows fourfold as bytes arrive, so that a
// caller takes memory for the bytes that it sends and not for the length that it declares.
func readBody(r *http.Request) ([]byte, error) {
	const first = 64 << 10 // bytes of the first buffer
	declared := int(max(r.ContentLength, 0))
	if declared == 0 {
		return io.ReadAll(r.Body)
	}
	var body []byte
	for size := min(declared, first); ; size = min(4*size, declared) {
		longer := make([]byte, size)
		n := copy(longer, body)
		body = longer
		if _, err := io.ReadFull(r.Body, body[n:]); err != nil {
			return nil, err
		}
		if size == declared {
			return body, nil
		}
	}
}

var (
	// errEncoding means that a body is not what its Content-Encoding says.
	errEncoding = errors.New("body does not decode")
	// errTooLarge means that a body, decoded, is larger than [Config.MaxBody].
	errTooLarge = errors.New("body is too large")
)

// byteOrderMark may begin a JSON text. It is removed, as Express does.
var byteOrderMark = []byte("\xef\xbb\xbf")

// readJSON reads a JSON text of at most so many bytes, decoded as Content-Encoding says,
// which [unsupported] has accepted. The bound holds for the decoded text.
//
// A connection whose body has not arrived counts as idle, so that it can be closed for other
// callers.
func readJSON(r *http.Request, most int64) ([]byte, error) {
	if c := limit.ConnFrom(r.Context()); c != nil {
		c.SetIdle(true)
		defer c.SetIdle(false)
	}
	encoding := contentEncoding(r)
	if encoding == "" {
		body, err := readBody(r)
		return bytes.TrimPrefix(body, byteOrderMark), err
	}
	var decoder io.ReadCloser
	var err error
	source := &source{Reader: r.Body}
	if encoding == "gzip" {
		decoder, err = gzip.NewReader(source)
	} else {
		decoder, err = zlib.NewReader(source)
	}
	var body []byte
	if err == nil {
		body, err = io.ReadAll(io.LimitReader(decoder, most+1))
	}
	switch {
	case source.err != nil:
		return nil, source.err
	case err != nil:
		return nil, errEncoding
	case int64(len(body)) > most:
		return nil, errTooLarge
	}
	return bytes.TrimPrefix(body, byteOrderMark), nil
}

// source remembers why reading has failed. A decoder may return another error.
type source struct {
	io.Reader
	err error
}

func (s *source) Read(b []byte) (int, error) {
	n, err := s.Reader.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// contentEncoding is the coding of a request's body, empty for none.
func contentEncoding(r *http.Request) string {
	lines := r.Header["Content-Encoding"]
	if len(lines) == 0 {
		return ""
	}
	coding := strings.ToLower(strings.TrimSpace(strings.Join(lines, ", ")))
	if coding == "identity" {
		return ""
	}
	return coding
}

// unsupported says why a request's body cannot be read, with a code. Both are empty when it
// can. The rules are those of Express's JSON parser, with two exceptions: a missing type and
// types that end in +json are JSON too, and UTF-16 and UTF-32 are refused.
func unsupported(r *http.Request) (code, message string) {
	if contentType := r.Header.Get(echo.HeaderContentType); contentType != "" && contentType != echo.MIMEApplicationJSON {
		t, params, err := mime.ParseMediaType(contentType)
		if err != nil || t != echo.MIMEApplicationJSON && !strings.HasSuffix(t, "+json") {
			return apierror.MediaType, "Content-Type must be application/json"
		}
		if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
			return apierror.Charset, "charset of Content-Type must be utf-8"
		}
	}
	switch contentEncoding(r) {
	case "", "gzip", "deflate":
		return "", ""
	}
	return apierror.Encoding, "Content-Encoding must be gzip, deflate or identity"
}
