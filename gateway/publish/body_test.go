package publish

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/internal/metrics"
	"github.com/codewar/socketbridge/internal/testutil/wait"
)

// packed is a text as a writer leaves it.
func packed(t testing.TB, text string, open func(io.Writer) io.WriteCloser) string {
	t.Helper()
	var b bytes.Buffer
	w := open(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func asGzip(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }
func asZlib(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }
func asDeflate(w io.Writer) io.WriteCloser {
	raw, _ := flate.NewWriter(w, 6) // fails for a level that does not exist
	return raw
}

// TestBodies: bodies are read as Express reads them, and what is stored is plain JSON.
func TestBodies(t *testing.T) {
	t.Parallel()
	const good = `{"userId":"here","topic":"t","a":1}`
	var stored string
	_, srv := newTestHandler(t, Config{}, func(ctx context.Context, topic string, h map[string][]string, body []byte) (bridge.Receipt, error) {
		stored = string(body)
		return pushed(ctx, topic, h, body)
	})
	gz, bomb := packed(t, good, asGzip), packed(t, `{"userId":"here","topic":"t","a":"`+strings.Repeat("x", 1<<20)+`"}`, asGzip)
	for _, tt := range []struct {
		name, kind, coding, body string
		status                   int
		code                     string
	}{
		{"plain", "application/json", "", good, 200, ""},
		{"byte order mark", "application/json", "", "\xef\xbb\xbf" + good, 200, ""},
		{"two byte order marks", "application/json", "", "\xef\xbb\xbf\xef\xbb\xbf" + good, 400, "INVALID_JSON"},
		{"gzip", "application/json", "gzip", gz, 200, ""},
		{"gzip, capitals", "application/json", "GZIP", gz, 200, ""},
		{"gzip with a byte order mark", "application/json", "gzip", packed(t, "\xef\xbb\xbf"+good, asGzip), 200, ""},
		{"deflate", "application/json", "deflate", packed(t, good, asZlib), 200, ""},
		{"identity", "application/json", "identity", good, 200, ""},
		{"deflate without its header", "application/json", "deflate", packed(t, good, asDeflate), 400, "INVALID_ENCODING"},
		{"not gzip", "application/json", "gzip", good, 400, "INVALID_ENCODING"},
		{"cut off gzip", "application/json", "gzip", gz[:len(gz)-9], 400, "INVALID_ENCODING"},
		{"changed gzip", "application/json", "gzip", gz[:len(gz)-6] + "\x00" + gz[len(gz)-5:], 400, "INVALID_ENCODING"},
		{"gzip of nothing", "application/json", "gzip", packed(t, "", asGzip), 400, "INVALID_JSON"},
		{"small, large when decoded", "application/json", "gzip", bomb, 413, "PAYLOAD_TOO_LARGE"},
		{"brotli", "application/json", "br", "x", 415, "UNSUPPORTED_ENCODING"},
		{"twice", "application/json", "gzip, gzip", gz, 415, "UNSUPPORTED_ENCODING"},
		{"charset", "application/json; charset=utf-8", "", good, 200, ""},
		{"charset, capitals and quotes", `Application/JSON; charset="UTF-8"`, "", good, 200, ""},
		{"another parameter", "application/json; v=1", "", good, 200, ""},
		{"JSON of another name", "application/vnd.api+json", "", good, 200, ""},
		{"no type", "", "", good, 200, ""},
		{"UTF-16", "application/json; charset=utf-16", "", good, 415, "UNSUPPORTED_CHARSET"},
		{"Latin 1", "application/json; charset=iso-8859-1", "", good, 415, "UNSUPPORTED_CHARSET"},
		{"text", "text/plain", "", good, 415, "UNSUPPORTED_MEDIA_TYPE"},
		{"no type at all", ";", "", good, 415, "UNSUPPORTED_MEDIA_TYPE"},
	} {
		stored = ""
		r := httptest.NewRequest("POST", "/sendPayload", strings.NewReader(tt.body))
		if tt.kind != "" {
			r.Header.Set("Content-Type", tt.kind)
		}
		if tt.coding != "" {
			r.Header.Set("Content-Encoding", tt.coding)
		}
		w := httptest.NewRecorder()
		srv.ServeHTTP(w, r)
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.code) {
			t.Errorf("%s: %d %s, want %d %s", tt.name, w.Code, w.Body, tt.status, tt.code)
		}
		if want := map[bool]string{true: good}[tt.status == 200]; stored != want {
			t.Errorf("%s: stored %q", tt.name, stored)
		}
	}
}

// TestOptions: an option with a value that is not known is refused by name, before
// anything is stored.
func TestOptions(t *testing.T) {
	t.Parallel()
	_, srv := newTestHandler(t, Config{}, pushed)
	for _, tt := range []struct {
		query, prefer string
		field         string // empty: accepted
	}{
		{"?queue=true", "", ""},
		{"?queue=false&ack=client", "", ""},
		{"?other=x", "return=minimal, respond-async; wait=10", "Prefer"}, // RFC 7240 separates by commas
		{"?other=x", "return=minimal, Respond-Async, wait=10", ""},
		{"?queue=maybe", "", "queue"},
		{"?queue=TRUE", "", "queue"},
		{"?queue=", "", "queue"},
		{"?queue", "", "queue"},
		{"?queue=true&queue=false", "", "queue"},
		{"?ack=server", "", "ack"},
		{"?ack=", "", "ack"},
		{"?ack=client&ack=x", "", "ack"},
		{"?queue=%zz", "", "query"},
		{"", "respond-asnyc", "Prefer"},
		{"", "respond-async=maybe", "Prefer"},
		{"", "return=minimal, x", "Prefer"},
	} {
		r := httptest.NewRequest("POST", "/sendPayload", strings.NewReader(`{"userId":"here","topic":"t"}`))
		r.URL.RawQuery = strings.TrimPrefix(tt.query, "?")
		if tt.prefer != "" {
			r.Header.Set("Prefer", tt.prefer)
		}
		w := httptest.NewRecorder()
		srv.ServeHTTP(w, r)
		var m struct {
			Code    string
			Details struct{ Field, Expected, UserID string }
		}
		_ = json.Unmarshal(w.Body.Bytes(), &m)
		if tt.field == "" && w.Code != 200 || tt.field != "" && (w.Code != 400 || m.Code != "INVALID_OPTION" || m.Details.Field != tt.field || m.Details.Expected == "") {
			t.Errorf("%s %q: %d %s, want field %q", tt.query, tt.prefer, w.Code, w.Body, tt.field)
		}
	}
}

// TestErrorDetails: the details of a 400 name the field, or the place in the text.
func TestErrorDetails(t *testing.T) {
	t.Parallel()
	_, srv := newTestHandler(t, Config{}, pushed)
	for body, want := range map[string]map[string]any{
		`{"topic":"t"}`: {"field": "userId", "expected": "1 to 128 printable characters, or a number"},
		"{\n  \"userId\": \"u\",\n  \"topic\" \"t\"\n}": {
			"position": 29.0, "line": 3.0, "column": 11.0, "expected": "a colon",
		},
		`{"userId":"u","topic":"t","a":1,"a":2}`: {"position": 32.0, "line": 1.0, "column": 33.0, "expected": "another key"},
		`[]`:                                     {"expected": "an object"},
	} {
		status, m := call(srv, body)
		details, _ := m["details"].(map[string]any)
		for _, always := range []string{"action", "userId", "requestId"} {
			if _, has := details[always]; !has {
				t.Errorf("%s: no %s", body, always)
			}
			delete(details, always)
		}
		if d := cmp.Diff(want, details); status != 400 || d != "" {
			t.Errorf("%s: %d (-want +got):\n%s", body, status, d)
		}
	}
}

// TestMalformedChunks: a body whose chunks are malformed is its sender's error.
func TestMalformedChunks(t *testing.T) {
	t.Parallel()
	_, srv := newTestHandler(t, Config{}, pushed)
	http := httptest.NewServer(srv)
	defer http.Close()
	for name, body := range map[string]string{
		"length is no number": "zz\r\n",
		"longer than it says": "1\r\n{}\r\n0\r\n\r\n",
		"endless length":      strings.Repeat("f", 32) + "\r\n",
		"no length":           "\r\n",
	} {
		for _, coding := range []string{"identity", "gzip"} {
			status := post(t, http.Listener.Addr().String(), "Content-Encoding: "+coding+"\r\nTransfer-Encoding: chunked\r\n\r\n"+body)
			if status != 400 {
				t.Errorf("%s, %s: %d, want 400", name, coding, status)
			}
		}
	}
}

// post sends the rest of a request for /sendPayload as it is.
func post(t *testing.T, addr, rest string) (status int) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, "POST /sendPayload HTTP/1.1\r\nHost: b\r\nContent-Type: application/json\r\n"+rest); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// TestAbortedBody: a caller that leaves before its body is whole counts as its own error, 400.
func TestAbortedBody(t *testing.T) {
	t.Parallel()
	h, handler := newTestHandler(t, Config{}, pushed)
	srv := httptest.NewServer(handler)
	defer srv.Close()
	for _, rest := range []string{
		"Content-Length: 100\r\n\r\n{",
		"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
		"Content-Encoding: gzip\r\nContent-Length: 100\r\n\r\n\x1f\x8b",
	} {
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "POST /sendPayload HTTP/1.1\r\nHost: b\r\nContent-Type: application/json\r\n"+rest); err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	wait.For(t, "three answers of 400", func() bool { return metrics.Value(h.answers[http.StatusBadRequest]) == 3 })
	for status, n := range h.answers {
		if got := metrics.Value(n); status != http.StatusBadRequest && got != 0 {
			t.Errorf("%v answers of %d", got, status)
		}
	}
}

// FuzzBody: whatever comes, coded or not, has a documented answer and is bounded.
func FuzzBody(f *testing.F) {
	const good = `{"userId":"here","topic":"t"}`
	for _, seed := range []struct{ body, coding, query string }{
		{good, "", "queue=true"}, {packed(f, good, asGzip), "gzip", ""}, {packed(f, good, asZlib), "deflate", "ack=client"}, {"\xef\xbb\xbf", "identity", "queue=maybe"},
	} {
		f.Add([]byte(seed.body), seed.coding, seed.query)
	}
	_, srv := newTestHandler(f, Config{}, pushed)
	f.Fuzz(func(t *testing.T, body []byte, coding, query string) {
		r := httptest.NewRequest("POST", "/sendPayload", bytes.NewReader(body))
		r.Header["Content-Encoding"] = []string{coding}
		r.URL.RawQuery = query
		w := httptest.NewRecorder()
		srv.ServeHTTP(w, r)
		switch w.Code {
		case 200, 400, 404, 413, 415:
		default:
			t.Errorf("status %d for %q coded %q", w.Code, body, coding)
		}
		if !json.Valid(w.Body.Bytes()) {
			t.Errorf("answer %q", w.Body)
		}
	})
}

// TestInflatedBodyIsBounded: of a small body that is large when decoded no more is
// decoded than the limit needs.
func TestInflatedBodyIsBounded(t *testing.T) {
	t.Parallel()
	const most = 4096
	for coding, open := range map[string]func(io.Writer) io.WriteCloser{"gzip": asGzip, "deflate": asZlib} {
		bomb := strings.NewReader(packed(t, strings.Repeat(" ", 64<<20), open))
		size := bomb.Len()
		r := httptest.NewRequest("POST", "/sendPayload", bomb)
		r.Header.Set("Content-Encoding", coding)
		if _, err := readJSON(r, most); err == nil {
			t.Errorf("%s: %d bytes are accepted", coding, 64<<20)
		}
		if read := size - bomb.Len(); read > size/4 {
			t.Errorf("%s: %d of %d bytes were decoded", coding, read, size)
		}
	}
}

// slowBody is a body that does not come in time.
type slowBody struct{}

func (slowBody) Read([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }

// TestSlowCodedBody: a body that does not come in time is a time-out in any coding.
func TestSlowCodedBody(t *testing.T) {
	t.Parallel()
	_, srv := newTestHandler(t, Config{}, pushed)
	for _, coding := range []string{"", "gzip", "deflate"} {
		r := httptest.NewRequest("POST", "/sendPayload", slowBody{})
		if coding != "" {
			r.Header.Set("Content-Encoding", coding)
		}
		if status := statusOf(srv, r); status != http.StatusRequestTimeout {
			t.Errorf("%q: %d, want 408", coding, status)
		}
	}
}
