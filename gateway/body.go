package gateway

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

	"github.com/labstack/echo/v4"

	"github.com/codewar/socketbridge/gateway/limit"
)

// bodyError means that the body of a request could not be read to its end: its sender
// left, or its chunks are malformed. Time-outs and sizes are told apart by what it wraps.
type bodyError struct{ error }

func (e *bodyError) Unwrap() error { return e.error }

// readBody reads a body of known length into as much memory as it needs, four times as
// much at a time as has come, so that a caller gets memory for what it sends and not
// for what it declares.
func readBody(r *http.Request) ([]byte, error) {
	const first = 64 << 10 // bytes that a caller gets on its word
	declared := int(max(r.ContentLength, 0))
	if declared == 0 {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, &bodyError{err}
		}
		return body, nil
	}
	var body []byte
	for size := min(declared, first); ; size = min(4*size, declared) {
		longer := make([]byte, size)
		n := copy(longer, body)
		body = longer
		if _, err := io.ReadFull(r.Body, body[n:]); err != nil {
			return nil, &bodyError{err}
		}
		if size == declared {
			return body, nil
		}
	}
}

// errEncoding means that a body is not what its Content-Encoding says.
var errEncoding = errors.New("body does not decode")

// byteOrderMark may begin a JSON text; Express takes it away too.
var byteOrderMark = []byte("\xef\xbb\xbf")

// readJSON reads a JSON text of at most so many bytes, decoded as Content-Encoding says,
// which [supportedEncoding] has accepted. The bound holds for the decoded text.
//
// A connection whose body has not arrived counts as idle: bodies that do not come must
// not keep other callers out.
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
		return nil, &bodyError{source.err}
	case err != nil:
		return nil, errEncoding
	case int64(len(body)) > most:
		return nil, echo.ErrStatusRequestEntityTooLarge
	}
	return bytes.TrimPrefix(body, byteOrderMark), nil
}

// source remembers why reading has failed, which a decoder may put otherwise.
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

// unsupported says what of a request's body cannot be read, with a code; both are empty
// when it can. The rules are those of Express's JSON parser, except that a missing type
// and types that end in +json are JSON too, and that UTF-16 and UTF-32 are refused.
func unsupported(r *http.Request) (code, message string) {
	if contentType := r.Header.Get(echo.HeaderContentType); contentType != "" && contentType != echo.MIMEApplicationJSON {
		t, params, err := mime.ParseMediaType(contentType)
		if err != nil || t != echo.MIMEApplicationJSON && !strings.HasSuffix(t, "+json") {
			return codeUnsupported, "Content-Type must be application/json"
		}
		if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
			return codeCharset, "charset of Content-Type must be utf-8"
		}
	}
	switch contentEncoding(r) {
	case "", "gzip", "deflate":
		return "", ""
	}
	return codeEncoding, "Content-Encoding must be gzip, deflate or identity"
}

// cutOff reports whether an error is the sender's: its body ended early or was malformed.
func cutOff(err error) bool {
	_, body := errors.AsType[*bodyError](err)
	return body && !errors.Is(err, os.ErrDeadlineExceeded)
}
