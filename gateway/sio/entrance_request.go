package sio

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/gorilla/websocket"
)

// The entrance serves a request without the checks of an HTTP server, so it takes only
// requests of the form that clients send, which every HTTP server accepts. Any other request
// is left to the HTTP server. FuzzEntranceRequest compares the two.

// endOfHeader is what ends a request without a body.
const endOfHeader = "\r\n\r\n"

// asksWebsocket reports whether b is a request for a websocket at path: whole, with nothing
// behind it, and in the plain form of [plainRequest].
func asksWebsocket(b []byte, path string) bool {
	rest, ok := bytes.CutPrefix(b, []byte("GET "+path+"?"))
	return ok && bytes.Contains(rest, []byte("transport="+websocketTransport)) &&
		bytes.Index(b, []byte(endOfHeader)) == len(b)-len(endOfHeader) && plainRequest(rest)
}

// plainRequest reports whether what follows the path of a request is a query of ordinary
// characters, HTTP/1.1, and header fields `name: value` of printable ASCII.
func plainRequest(b []byte) bool {
	line, fields, _ := bytes.Cut(b[:len(b)-len("\r\n")], []byte("\r\n"))
	query, ok := bytes.CutSuffix(line, []byte(" HTTP/1.1"))
	if !ok || !consistsOf(query, queryCharacter) {
		return false
	}
	for field := range bytes.SplitSeq(bytes.TrimSuffix(fields, []byte("\r\n")), []byte("\r\n")) {
		name, value, ok := bytes.Cut(field, []byte(":"))
		if !ok || len(name) == 0 || !consistsOf(name, nameCharacter) || !consistsOf(value, printable) {
			return false
		}
	}
	return true
}

func consistsOf[T string | []byte](s T, of func(c byte) bool) bool {
	for i := range len(s) {
		if !of(s[i]) {
			return false
		}
	}
	return true
}

func alphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func queryCharacter(c byte) bool {
	return alphanumeric(c) || strings.IndexByte("-._~%&=+:/?@!$'()*,;", c) >= 0
}

func nameCharacter(c byte) bool { return alphanumeric(c) || c == '-' || c == '_' }

func hostCharacter(c byte) bool { return alphanumeric(c) || strings.IndexByte("-._:[]", c) >= 0 }

func printable(c byte) bool { return ' ' <= c && c <= '~' }

// request is the request for a websocket that the first n bytes are, or nil.
func (f *first) request(n int, path string) *http.Request {
	f.unread.Reset(f.b[:n])
	f.in.Reset(&f.unread)
	r, err := http.ReadRequest(f.in)
	if err != nil || r.Host == "" || !consistsOf(r.Host, hostCharacter) || r.URL.Path != path || !websocket.IsWebSocketUpgrade(r) {
		return nil
	}
	for name, values := range r.Header {
		if len(values) > 1 {
			return nil // which one counts is not for us to say
		}
		switch name {
		case "Content-Length", "Transfer-Encoding", "Trailer", "Expect":
			return nil // there is more than a header, or a question that is answered first
		}
	}
	if len(r.TransferEncoding) > 0 || r.ContentLength != 0 {
		return nil
	}
	return r
}
