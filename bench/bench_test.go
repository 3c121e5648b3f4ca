package main

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serverFrame is a frame as a server sends it.
func serverFrame(op byte, payload string) []byte {
	b := []byte{0x80 | op}
	switch n := len(payload); {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	return append(b, payload...)
}

func TestFramesInPieces(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 125, 126, 65535, 65536} {
		payload := strings.Repeat("x", size)
		frame := serverFrame(opText, payload)
		for _, n := range []int{0, 1, 2, 3, 9, len(frame) - 1} {
			if n < len(frame) {
				if _, _, got, err := nextFrame(frame[:n]); got != 0 || err != nil {
					t.Errorf("%d of %d bytes: size %d, %v", n, len(frame), got, err)
				}
			}
		}
		op, got, n, err := nextFrame(append(frame, "more"...))
		if op != opText || string(got) != payload || n != len(frame) || err != nil {
			t.Errorf("%d bytes: op %d, payload of %d, size %d, %v", size, op, len(got), n, err)
		}
	}
	for name, frame := range map[string][]byte{
		"fragmented": {0x01, 0}, "compressed ping": {0xc9, 0}, "reserved": {0xa1, 0}, "masked": {0x81, 0x80, 0, 0, 0, 0}, "binary": {0x82, 0},
		"endless": {0x81, 127, 255, 0, 0, 0, 0, 0, 0, 0},
	} {
		if _, _, _, err := nextFrame(frame); !errors.Is(err, errFrame) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzFrames: whatever comes, in whatever pieces, the same frames are read.
func FuzzFrames(f *testing.F) {
	f.Add(append(serverFrame(opText, "2"), serverFrame(opPing, "p")...), 3)
	f.Add(serverFrame(opText, strings.Repeat("x", 300)), 126)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		read := func(pieces ...[]byte) (payloads []string, left int, failed bool) {
			var rest []byte
			for _, p := range pieces {
				rest = append(rest, p...)
				for {
					op, payload, size, err := nextFrame(rest)
					if err != nil {
						return payloads, 0, true
					}
					if size == 0 {
						break
					}
					if size < 2 || size > len(rest) {
						t.Fatalf("size %d of %d", size, len(rest))
					}
					payloads = append(payloads, string(op)+string(payload))
					rest = rest[size:]
				}
			}
			return payloads, len(rest), false
		}
		cut = min(max(cut, 0), len(b))
		whole, left, failed := read(b)
		pieces, left2, failed2 := read(b[:cut], b[cut:])
		if !slices.Equal(whole, pieces) || left != left2 || failed != failed2 {
			t.Errorf("whole: %q, %d, %v; cut at %d: %q, %d, %v", whole, left, failed, cut, pieces, left2, failed2)
		}
	})
}

// TestInflate: a browser that has asked for it reads what was compressed, and one that
// has not takes it for a fault.
func TestInflate(t *testing.T) {
	t.Parallel()
	z := newInflater()
	for _, want := range []string{"2", strings.Repeat(`42["bench",{"n":1,"t":1}]`, 5000)} {
		var small bytes.Buffer
		w, _ := flate.NewWriter(&small, flate.BestSpeed)
		_, _ = io.WriteString(w, want)
		_ = w.Flush()
		got, err := z.inflate(bytes.TrimSuffix(small.Bytes(), []byte{0, 0, 0xff, 0xff}))
		if string(got) != want || err != nil {
			t.Errorf("%d bytes, %v, want %d", len(got), err, len(want))
		}
	}
	if _, err := z.inflate([]byte{0xff}); err == nil {
		t.Error("nonsense is inflated")
	}
	if _, err := (*inflater)(nil).inflate(nil); !errors.Is(err, errFrame) {
		t.Errorf("not asked for: %v", err)
	}
}

func TestSequence(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		got  []uint64
		sent uint64
		want faults
	}{
		{"all", []uint64{1, 2, 3}, 3, faults{}},
		{"nothing", nil, 2, faults{lost: 2}},
		{"the first lost", []uint64{2, 3}, 3, faults{lost: 1}},
		{"some lost", []uint64{1, 4}, 5, faults{lost: 3}},
		{"twice at once", []uint64{1, 1, 2}, 2, faults{duplicates: 1}},
		{"twice, later", []uint64{1, 2, 3, 1}, 3, faults{duplicates: 1}},
		{"swapped", []uint64{2, 1, 3}, 3, faults{inversions: 1}},
		{"late, then again", []uint64{1, 3, 2, 2}, 3, faults{inversions: 1, duplicates: 1}},
		{"late and lost", []uint64{4, 2}, 4, faults{inversions: 1, lost: 2}},
	} {
		var (
			s sequence
			f faults
		)
		for _, n := range tt.got {
			s.take(n, &f)
		}
		f.lost = s.lost(tt.sent)
		if f != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, f, tt.want)
		}
	}
}

func TestMessageComesBack(t *testing.T) {
	t.Parallel()
	m := newMill(2, 200)
	m.appendBody(nil, 1, 0, false)
	body := m.appendBody([]byte("before"), 1, 123456789, true)
	if got := len(body) - len("before"); got != 200 {
		t.Errorf("body of %d bytes, want 200", got)
	}
	start := `before{"userId":"user_1","topic":"bench",`
	if !bytes.HasPrefix(body, []byte(start)) {
		t.Fatalf("%s", body)
	}
	n, at, ok := parseEvent([]byte(`42["bench",{` + string(body[len(start):]) + `,"1-2"]`))
	if n != 2 || at != 123456789 || !ok {
		t.Errorf("number %d, time %d, %v", n, at, ok)
	}
	if !json.Valid(body[len("before"):]) {
		t.Errorf("not JSON: %s", body)
	}
	for _, size := range []int{200, 2000, 20_000} {
		body := newMill(1, size).appendBody(nil, 0, 1<<40, true)
		if !json.Valid(body) || len(body) != size {
			t.Errorf("%d bytes, want %d: %s", len(body), size, body)
		}
	}
	for _, other := range []string{"", "2", `42["bench",{}]`, `42["bench",{"n":1}]`, `42["bench",{"n":,"t":1}]`, `42["other",{"n":1,"t":1}]`} {
		if _, _, ok := parseEvent([]byte(other)); ok {
			t.Errorf("%q is taken for a message", other)
		}
	}
}

func TestMedianAndMergedLatencies(t *testing.T) {
	t.Parallel()
	itself := func(v float64) float64 { return v }
	for _, tt := range []struct {
		of   []float64
		want float64
	}{{[]float64{7}, 7}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(tt.of, itself); got != tt.want {
			t.Errorf("median of %v is %v, want %v", tt.of, got, tt.want)
		}
	}
	// 99 fast ones here and one slow one there: an average of the two 99th percentiles
	// would say half a second.
	fast, slow := newLatencies(), newLatencies()
	for range 99 {
		fast.record(time.Millisecond)
	}
	slow.record(time.Second)
	all := merged([]latencies{fast, slow}, func(l latencies) latencies { return l })
	near := func(got, want time.Duration) bool { return (got - want).Abs() <= want/500 }
	if got := all.at(99); !near(got, time.Millisecond) {
		t.Errorf("p99 %v, want 1ms", got)
	}
	if got := all.max(); !near(got, time.Second) {
		t.Errorf("max %v, want 1s", got)
	}
	all.record(time.Hour)
	if got := all.max(); !near(got, maxLatency) {
		t.Errorf("max %v, want what is longest", got)
	}
}

func TestProc(t *testing.T) {
	t.Parallel()
	stat := "42 (a) b c) S 1 42 42 0 -1 4194560 1 0 0 0 150 25 0 0 20 0 1 0 100 0"
	if got, err := parseStat(stat); got != 1750*time.Millisecond || err != nil {
		t.Errorf("%v, %v, want 1.75s", got, err)
	}
	if got, err := parseMachine("cpu  1 2 4 1000 1000 8 16 32 1000 1000\ncpu0 0"); got != 630*time.Millisecond || err != nil {
		t.Errorf("%v, %v, want 630ms", got, err)
	}
	m, err := parseRollup("0-1 ---p 0 00:00 0 [rollup]\nRss:   1632 kB\nPss:    340 kB\nPss_Dirty:  116 kB\n")
	if d := cmp.Diff([]int64{1632 << 10, 340 << 10}, []int64{m.resident, m.proportional}); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	for _, broken := range []string{"", "42 (a) S 1"} {
		_, err1 := parseStat(broken)
		_, err2 := parseRollup(broken)
		_, err3 := parseMachine(broken)
		if err1 == nil || err2 == nil || err3 == nil {
			t.Errorf("%q: %v, %v, %v", broken, err1, err2, err3)
		}
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	const good = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
	for end := range len(good) {
		if n, err := answerSize([]byte(good[:end])); n != 0 || err != nil {
			t.Fatalf("%q: %d, %v; want to wait for more", good[:end], n, err)
		}
	}
	if n, err := answerSize([]byte(good + "HTTP/1.1")); n != len(good) || err != nil {
		t.Errorf("200: %d, %v", n, err)
	}
	for _, bad := range []string{
		"HTTP/1.1 404 Not Found\r\nX: y\r\ncontent-length: 3\r\n\r\nwhy",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: why\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: why\r\n\r\n",
	} {
		if _, err := answerSize([]byte(bad)); !errors.Is(err, errAnswer) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := answerSize([]byte("HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nwhy")); err == nil || !strings.HasSuffix(err.Error(), "404 Not Found why") {
		t.Errorf("404: %v", err)
	}
}

// Callers wait for their answers, make at the fixed rate all calls that were due, and say what a
// server does wrong.
func TestHTTPLoad(t *testing.T) {
	t.Parallel()
	const callers, users = 4, 8
	var inHand, most, served atomic.Int64
	var broken atomic.Bool
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		most.Store(max(most.Load(), inHand.Add(1)))
		defer inHand.Add(-1)
		if body, err := io.ReadAll(r.Body); err != nil || !json.Valid(body) {
			t.Errorf("body %q, %v", body, err)
		}
		served.Add(1)
		if broken.Load() {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	defer srv.Close()
	m := newMill(users, smallBody)
	l, err := dialHTTP(srv.Listener.Addr().String(), &window{}, m, callers)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	during := func(d time.Duration, run func(context.Context) error) (calls uint64) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		before := l.published.Load()
		if err := run(ctx); err != nil {
			t.Fatal(err)
		}
		calls = l.published.Load() - before
		if calls == 0 || served.Swap(0) != int64(calls) {
			t.Errorf("%d calls, not all of them answered", calls)
		}
		return calls
	}
	during(50*time.Millisecond, l.flood)
	if n := during(100*time.Millisecond, func(ctx context.Context) error { return l.pace(ctx, 1000) }); n < 80 || n > 110 {
		t.Errorf("%d calls in 100 ms, want 1,000 a second", n)
	}
	if most.Load() > callers {
		t.Errorf("%d calls at a time by %d callers", most.Load(), callers)
	}
	broken.Store(true)
	if err := l.flood(t.Context()); !errors.Is(err, errAnswer) {
		t.Errorf("a teapot: %v", err)
	}
}

// swarmAt starts a server and browsers without a connection, for the time of the test.
func swarmAt(t testing.TB, serve http.HandlerFunc) (*http.Server, *swarm) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: serve}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = srv.Serve(l)
	}()
	t.Cleanup(func() {
		_ = srv.Close()
		<-served
	})
	s, err := newSwarm(l.Addr().(*net.TCPAddr).Port, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return srv, s
}

// TestSwarm holds the browsers against a server that loses one message, repeats
// another, and refuses one connect.
func TestSwarm(t *testing.T) {
	t.Parallel()
	srv, s := swarmAt(t, speak)
	if err := s.connectAll(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	w := &window{swarm: s}
	w.published.Store(9) // three for each
	if err := w.drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	f, complaints := s.judge([]uint64{3, 3, 3})
	if want := (faults{lost: 3, duplicates: 3}); f != want || len(complaints) > 0 {
		t.Errorf("%+v, want %+v; %q", f, want, complaints)
	}
	took, failed, _ := s.connected()
	if took.h.TotalCount() != 3 || failed != 0 {
		t.Errorf("%d connects, %d failed", took.h.TotalCount(), failed)
	}
	if err := srv.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.connectAll(t.Context(), 1); err == nil {
		t.Error("connected to nobody")
	}
}

// speak is the least of a Socket.IO server: it welcomes, and sends messages 1, 3 and 3.
func speak(w http.ResponseWriter, r *http.Request) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	var out []byte
	for _, text := range []string{
		`0{"sid":"a"}`, "2", `40{"sid":"b"}`, `430[{"ok":true}]`,
		`42["bench",{"n":1,"t":1}]`, `42["bench",{"n":3,"t":1}]`, `42["bench",{"n":3,"t":1}]`,
	} {
		out = append(out, serverFrame(opText, text)...)
	}
	_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\n\r\n")
	_ = rw.Flush()
	for i := range out { // as small as pieces can be
		if _, err := conn.Write(out[i : i+1]); err != nil {
			return
		}
	}
	_, _ = io.Copy(io.Discard, conn) // until the browser leaves
}
