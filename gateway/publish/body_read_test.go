package publish

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestReadBody(t *testing.T) {
	t.Parallel()
	for name, length := range map[string]int64{"known": 5, "unknown": -1, "none": 0} {
		r := &http.Request{ContentLength: length, Body: io.NopCloser(strings.NewReader("hello"))}
		if got, err := readBody(r); string(got) != "hello" || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for name, length := range map[string]int64{"cut off": 6, "cut off, of a length that no memory has": 1 << 50} {
		r := &http.Request{ContentLength: length, Body: io.NopCloser(strings.NewReader("hello"))}
		if _, err := readBody(r); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", name, err)
		}
	}
	large := strings.Repeat("hello", 100_000)
	r := &http.Request{ContentLength: int64(len(large)), Body: io.NopCloser(strings.NewReader(large))}
	if got, err := readBody(r); string(got) != large || err != nil {
		t.Errorf("large: %d bytes, %v", len(got), err)
	}
}

// The deadline of a request is left alone only when it cannot pass before the caller has its answer.
func TestBodySlack(t *testing.T) {
	t.Parallel()
	const second = time.Second
	for _, tt := range []struct{ header, read, reply, want time.Duration }{
		{10 * second, 30 * second, 5 * second, 15*second - 5*second/64},
		{0, 30 * second, 5 * second, -5*second - 5*second/64}, // the headers may have taken all of it
		{10 * second, 12 * second, 5 * second, -3*second - 5*second/64},
		{10 * second, 0, 5 * second, 1<<63 - 1}, // there is none
	} {
		if got := (&Config{ReadHeaderTimeout: tt.header, ReadTimeout: tt.read, ReplyTimeout: tt.reply}).bodySlack(); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}
