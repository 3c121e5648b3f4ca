package publish

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/internal/testutil/wait"
)

// pad is a good body of so many bytes.
func pad(n int) string {
	const around = `{"userId":"u","topic":"t","fill":""}`
	return strings.Replace(around, `""`, `"`+strings.Repeat("x", n-len(around))+`"`, 1)
}

func zip(t *testing.T, text string) io.Reader {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

// TestPayloadBytes: a caller may send so many bytes, whatever form they have, and pays
// for nobody else's. Declared bytes are refused before any is read.
func TestPayloadBytes(t *testing.T) {
	t.Parallel()
	h, srv := newTestHandler(t, Config{BytesPerSecond: 1, BytesBurst: 10_000}, pushed)
	call := func(from string, body io.Reader, encoding string) int {
		r := httptest.NewRequest(http.MethodPost, "/sendPayload", body)
		r.RemoteAddr = from
		if encoding != "" {
			r.Header.Set("Content-Encoding", encoding)
		}
		w := httptest.NewRecorder()
		srv.ServeHTTP(w, r)
		if retry := w.Result().Header.Get("Retry-After"); (w.Code == http.StatusTooManyRequests) != (retry != "") {
			t.Errorf("status %d, Retry-After %q", w.Code, retry)
		}
		return w.Code
	}
	for name, form := range map[string]func() (io.Reader, string){
		"declared": func() (io.Reader, string) { return strings.NewReader(pad(4000)), "" },
		"chunked":  func() (io.Reader, string) { return io.MultiReader(strings.NewReader(pad(4000))), "" },
		"gzip":     func() (io.Reader, string) { return zip(t, pad(4000)), "gzip" },
	} {
		t.Run(name, func(t *testing.T) {
			from := map[string]string{"declared": "192.0.2.1:5", "chunked": "192.0.2.2:5", "gzip": "192.0.2.3:5"}[name]
			served := 0
			for range 10 {
				body, encoding := form()
				if call(from, body, encoding) != http.StatusNotFound {
					break
				}
				served++
			}
			if served < 2 || served > 3 { // one more than fits, where it is not declared
				t.Errorf("%d calls of 4,000 bytes were served, want 2 or 3", served)
			}
			unread := &reading{Reader: strings.NewReader(pad(4000))}
			r := httptest.NewRequest(http.MethodPost, "/sendPayload", unread)
			r.RemoteAddr, r.ContentLength = from, 4000
			w := httptest.NewRecorder()
			srv.ServeHTTP(w, r)
			if w.Code != http.StatusTooManyRequests || unread.n != 0 {
				t.Errorf("one more: %d, %d bytes were read", w.Code, unread.n)
			}
			if code := call(strings.Replace(from, "192.0.2", "198.51.100", 1), strings.NewReader(pad(4000)), ""); code != http.StatusNotFound {
				t.Errorf("another caller: %d", code)
			}
		})
	}
	if n := h.refusals.Counts()[limitByteRate]; n < 3 {
		t.Errorf("%d refusals are counted, want 3 or more", n)
	}
}

// reading counts what is read.
type reading struct {
	io.Reader
	n int
}

func (r *reading) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	r.n += n
	return n, err
}

// TestBodyBytes: bodies of calls in hand take so many bytes together, in whatever form
// they come. Small ones get in while large ones take all, and a call that ends makes room.
func TestBodyBytes(t *testing.T) {
	t.Parallel()
	asked, answer := make(chan struct{}), make(chan struct{})
	h, handler := newTestHandler(t, Config{BodyBytes: 10_000, ReplyTimeout: time.Second}, func(context.Context, string, map[string][]string, []byte) (bridge.Receipt, error) {
		select {
		case asked <- struct{}{}:
			<-answer
			return bridge.Receipt{Outcome: bridge.Inboxed}, nil
		case <-time.After(10 * time.Second):
			return bridge.Receipt{}, errors.New("a call was let in that should not have been")
		}
	})
	h.memory.small = 500
	srv := httptest.NewServer(handler)
	defer srv.Close()
	call := func(body io.Reader, encoding string) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/sendPayload?queue=true", body)
		if err != nil {
			t.Error(err)
			return 0
		}
		if encoding != "" {
			r.Header.Set("Content-Encoding", encoding)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Error(err)
			return 0
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	codes := make(chan int)
	hold := func(body io.Reader) {
		t.Helper()
		go func() { codes <- call(body, "") }()
		select {
		case <-asked:
		case code := <-codes:
			t.Fatalf("a call that should be let in: %d", code)
		}
	}
	hold(strings.NewReader(pad(4000)))
	hold(io.MultiReader(strings.NewReader(pad(1900))))
	hold(strings.NewReader(pad(4000)))
	for name, tt := range map[string]struct {
		body     io.Reader
		encoding string
	}{
		"declared": {strings.NewReader(pad(600)), ""},
		"chunked":  {io.MultiReader(strings.NewReader(pad(600))), ""},
		"gzip":     {zip(t, pad(600)), "gzip"},
	} {
		if code := call(tt.body, tt.encoding); code != http.StatusServiceUnavailable {
			t.Errorf("%s, when there is no room: %d", name, code)
		}
	}
	hold(strings.NewReader(pad(400))) // a small one
	for range 4 {
		answer <- struct{}{}
		if code := <-codes; code != http.StatusAccepted {
			t.Errorf("a call in hand: %d", code)
		}
	}
	go func() { codes <- call(zip(t, pad(4000)), "gzip") }()
	<-asked
	if used := h.memory.used.Load(); used != 4000 {
		t.Errorf("a decoded body of 4,000 bytes counts as %d", used)
	}
	close(answer)
	<-codes
	wait.For(t, "no byte counts when no call is in hand", func() bool { return h.memory.used.Load() == 0 })
	if n := h.refusals.Counts()[limitBodyBytes]; n != 3 {
		t.Errorf("%d refusals are counted, want 3", n)
	}
}

// TestRefusedBodiesTakeNoMemory: what is read of a body that is too large, so that its sender
// sees the answer, does not count when the call has been answered.
func TestRefusedBodiesTakeNoMemory(t *testing.T) {
	t.Parallel()
	h, srv := newTestHandler(t, Config{}, pushed)
	for name, body := range map[string]io.Reader{
		"declared": strings.NewReader(pad(8000)),
		"chunked":  io.MultiReader(strings.NewReader(pad(8000))),
	} {
		if status := statusOf(srv, httptest.NewRequest(http.MethodPost, "/sendPayload", body)); status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %d", name, status)
		}
		if used := h.memory.used.Load(); used != 0 {
			t.Errorf("%s: %d bytes count after the answer", name, used)
		}
		if n, err := body.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("%s: the body was not read to its end: %d, %v", name, n, err)
		}
	}
}
