package sio

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/codewar/socketbridge/gateway/siotest"
	"github.com/codewar/socketbridge/internal/metrics"
)

// verdict is the payload of a message about a submission, of about n bytes.
func verdict(n int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	b := []byte(`{"submissionId":"sub_8f3a91c2","status":"ACCEPTED","results":[`)
	for i := 0; len(b) < n; i++ {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"testCase":%d,"status":"PASSED","executionTime":"%dms","memoryUsed":"%d.%dMB","output":"%d %d"}`,
			i, r.IntN(200), r.IntN(64), r.IntN(10), r.IntN(100_000), r.IntN(1000))
	}
	return append(b, "]}"...)
}

// inflate is what a client does with a compressed message.
func inflate(small []byte, most int64) ([]byte, error) {
	tail := "\x00\x00\xff\xff\x01\x00\x00\xff\xff" // what was left out, and an end
	return io.ReadAll(io.LimitReader(flate.NewReader(io.MultiReader(bytes.NewReader(small), strings.NewReader(tail))), most))
}

func deflate(text []byte) []byte {
	var out bytes.Buffer
	w, _ := flate.NewWriter(&out, flate.BestCompression)
	_, _ = w.Write(text)
	_ = w.Flush()
	return bytes.TrimSuffix(out.Bytes(), flushed)
}

// rawWS is a websocket whose frames a test sees as they are.
type rawWS struct {
	nc     net.Conn
	in     *bufio.Reader
	answer *http.Response
}

// dialRaw asks for a websocket with these extensions, one header line each.
func dialRaw(t testing.TB, addr, query string, extensions ...string) *rawWS {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
	var request strings.Builder
	request.WriteString("GET /socket.io/?EIO=4&transport=websocket" + query + " HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")
	for _, line := range extensions {
		request.WriteString(extensionsHeader + ": " + line + "\r\n")
	}
	if _, err := io.WriteString(nc, request.String()+"\r\n"); err != nil {
		t.Fatal(err)
	}
	c := &rawWS{nc: nc, in: bufio.NewReader(nc)}
	if c.answer, err = http.ReadResponse(c.in, nil); err != nil || c.answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("handshake: %v %v", c.answer, err)
	}
	return c
}

// frame reads one frame: its first byte, and its payload.
func (c *rawWS) frame(t testing.TB) (_ byte, payload []byte) {
	t.Helper()
	var header, long [8]byte
	if _, err := io.ReadFull(c.in, header[:2]); err != nil {
		t.Fatalf("read frame: %v", err)
	}
	first, length := header[0], uint64(header[1])
	if n := map[uint64]int{126: 2, 127: 8}[length]; n > 0 {
		_, _ = io.ReadFull(c.in, long[8-n:]) // an error comes again below
		length = binary.BigEndian.Uint64(long[:])
	}
	payload = make([]byte, length)
	if _, err := io.ReadFull(c.in, payload); err != nil {
		t.Fatalf("read payload: %v", err)
	}
	return first, payload
}

// write sends one frame of a client.
func (c *rawWS) write(first byte, payload []byte) {
	b := []byte{first, 0x80 | 127}
	b = binary.BigEndian.AppendUint64(b, uint64(len(payload)))
	b = append(b, 0, 0, 0, 0)                // a mask that changes nothing
	_, _ = c.nc.Write(append(b, payload...)) // the server may have hung up
}

// bothNoContext is our answer to every offer that we take.
const bothNoContext = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// TestNegotiation: whatever is offered, what the answer promises is what is sent.
func TestNegotiation(t *testing.T) {
	t.Parallel()
	const above = 1000
	r := &recorder{}
	_, url := newServer(t, Config{CompressAbove: above}, r)
	_, off := newServer(t, Config{}, r)
	taken, declined := bothNoContext, ""
	sockets := 0
	for _, tc := range []struct {
		name    string
		offers  []string
		answer  string
		nowhere bool // compression is off
	}{
		{"nothing", nil, declined, false},
		{"as browsers do", []string{"permessage-deflate; client_max_window_bits"}, taken, false},
		{"bare", []string{"permessage-deflate"}, taken, false},
		{"all that we take", []string{`permessage-deflate;client_max_window_bits="10" ;client_no_context_takeover; server_no_context_takeover`}, taken, false},
		{"a smaller window of ours", []string{"permessage-deflate; server_max_window_bits=10"}, declined, false},
		{"a smaller window, or not", []string{"permessage-deflate; server_max_window_bits=10, permessage-deflate"}, taken, false},
		{"on two lines", []string{"permessage-deflate; server_max_window_bits=10", "permessage-deflate; client_max_window_bits=15"}, taken, false},
		{"after a stranger", []string{"x-webkit-deflate-frame, permessage-deflate"}, taken, false},
		{"unknown parameter", []string{"permessage-deflate; level=9"}, declined, false},
		{"unknown parameter, then none", []string{"permessage-deflate; level=9, permessage-deflate"}, taken, false},
		{"twice the same", []string{"permessage-deflate; client_max_window_bits; client_max_window_bits=10"}, declined, false},
		{"value where none belongs", []string{"permessage-deflate; client_no_context_takeover=1"}, declined, false},
		{"window too small", []string{"permessage-deflate; client_max_window_bits=7"}, declined, false},
		{"window with a zero", []string{"permessage-deflate; client_max_window_bits=08"}, declined, false},
		{"window without bits", []string{"permessage-deflate; client_max_window_bits="}, declined, false},
		{"within quotes", []string{`foo; bar="a, permessage-deflate, b"`}, declined, false},
		{"after escaped quotes", []string{`foo; bar="\"", permessage-deflate`}, taken, false},
		{"open quotes", []string{`foo; bar=", permessage-deflate`}, declined, false},
		{"empty offers", []string{",;,", " permessage-deflate ;"}, declined, false},
		{"switched off", []string{"permessage-deflate; client_max_window_bits"}, declined, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			url := url
			if tc.nowhere {
				url = off
			}
			c := dialRaw(t, strings.TrimPrefix(url, "http://"), "", tc.offers...)
			if got := strings.Join(c.answer.Header[extensionsHeader], " | "); got != tc.answer {
				t.Errorf("answered %q, want %q", got, tc.answer)
			}
			c.write(0x80|opText, []byte("40"))
			for range 2 { // OPEN and CONNECT are small
				if first, text := c.frame(t); first != 0x80|opText {
					t.Fatalf("%x %q", first, text)
				}
			}
			s := r.socket(t, sockets)
			sockets++
			small, large := EventPacket("t", verdict(above/2), "1-1"), EventPacket("t", verdict(above), "1-2")
			for _, p := range []*Packet{small, large, large} {
				if err := s.Push(p); err != nil {
					t.Fatal(err)
				}
			}
			for i, p := range []*Packet{small, large, large} {
				want := byte(0x80 | opText)
				if i > 0 && tc.answer == taken {
					want |= compressed
				}
				first, text := c.frame(t)
				if first != want {
					t.Errorf("frame %d begins with %x, want %x", i, first, want)
				}
				if first&compressed != 0 {
					text, _ = inflate(text, 1<<20)
				}
				if string(text) != string(p.text) {
					t.Errorf("frame %d says %.100q, want %.100q", i, text, p.text)
				}
			}
		})
	}
}

// TestPacketForms: one packet is the same for everybody it goes to, and what it is
// set to next is not mixed with what it was.
func TestPacketForms(t *testing.T) {
	t.Parallel()
	random := make([]byte, 3000)
	for i := range random {
		random[i] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-"[rand.N(64)]
	}
	p := new(Packet)
	for _, payload := range []string{string(verdict(20_000)), `{}`, string(verdict(2000)), `{"x":"` + string(random) + `"}`, string(verdict(900))} {
		p.SetEvent("t", []byte(payload), "1-1")
		want := `42["t",` + payload + `,"1-1"]`
		var wg sync.WaitGroup
		forms := make([][]byte, 8)
		for i := range forms {
			wg.Go(func() { forms[i] = p.deflated() })
		}
		wg.Wait()
		if string(p.text) != want || readFrame(t, p.frame) != want {
			t.Fatalf("plain forms of %.40q are %.40q and %.40q", want, p.text, p.frame)
		}
		for _, form := range forms {
			if &form[0] != &forms[0][0] {
				t.Error("compressed more than once")
			}
		}
		form := forms[0]
		if len(form) > len(p.frame) {
			t.Errorf("%d bytes have become %d", len(p.frame), len(form))
		}
		if form[0]&compressed == 0 {
			if len(payload) > 2 && payload[2] != 'x' {
				t.Errorf("%.40q is not compressed", payload)
			}
			continue
		}
		form[0] &^= compressed
		got, err := inflate([]byte(readFrame(t, form)), 1<<20)
		form[0] |= compressed
		if string(got) != want {
			t.Errorf("inflates to %.40q, %v, want %.40q", got, err, want)
		}
	}
}

// TestBombs: what inflates to more than a message may have is cut off there, also
// in an upgrade, before anybody has said who he is.
func TestBombs(t *testing.T) { // not parallel: it looks at what is allocated
	const most = 100_000
	bomb := deflate(make([]byte, 50<<20)) // 50 KB that become 50 MB
	for name, frames := range map[string][][]byte{
		"one frame":    {bomb},
		"many frames":  {bomb[:1], bomb[1:20_000], bomb[20_000:40_000], bomb[40_000:]},
		"one too many": {deflate(make([]byte, most+1))},
	} {
		for _, probe := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/probe=%v", name, probe), func(t *testing.T) {
				r := &recorder{}
				s, url := newServer(t, Config{MaxInbound: most, CompressAbove: 1000}, r)
				var query string
				if probe {
					query = "&sid=" + joinPolling(t, url, "").sid
				}
				c := dialRaw(t, strings.TrimPrefix(url, "http://"), query, deflateExtension)
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				for i, part := range frames {
					first := byte(0)
					if i == 0 {
						first = opText | compressed
					}
					if i == len(frames)-1 {
						first |= 0x80
					}
					c.write(first, part)
				}
				_ = c.nc.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, c.in) // until the server has closed
				runtime.ReadMemStats(&after)
				if n := after.TotalAlloc - before.TotalAlloc; n > 20*most {
					t.Errorf("%d KB were allocated for a message of at most %d", n>>10, most>>10)
				}
				if n := s.Stats().Drops[ReasonTooLarge]; n != 1 && !probe {
					t.Errorf("%d drops: %v", n, s.Stats().Drops)
				}
			})
		}
	}
}

// FuzzInflate has a client send one compressed message. Whatever it is, nothing
// panics, and what would be too large is not taken for a message.
func FuzzInflate(f *testing.F) {
	const most = 1000
	f.Add(deflate([]byte(`40`)))
	f.Add(deflate([]byte(`42["e",` + strings.Repeat(" ", most) + `1]`)))
	f.Add(deflate(make([]byte, 1<<20)))
	f.Add(deflate([]byte(`42["e"]`))[:3])
	f.Add(append(deflate([]byte("3")), 0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff, 'x'))
	f.Add([]byte{0})
	f.Add([]byte{})
	r := &recorder{}
	s, url := newServer(f, Config{MaxInbound: most, CompressAbove: 1}, r)
	tooLarge := func() uint64 { return s.Stats().Drops[ReasonTooLarge] }
	f.Fuzz(func(t *testing.T, small []byte) {
		if len(small) > most {
			return // too large as it is
		}
		before := tooLarge()
		c := dialRaw(t, strings.TrimPrefix(url, "http://"), "", deflateExtension)
		c.write(0x80|opText|compressed, small)
		_ = c.nc.(*net.TCPConn).CloseWrite()
		if _, err := io.Copy(io.Discard, c.in); err != nil {
			t.Logf("closed hard: %v", err)
		}
		c.nc.Close()
		text, err := inflate(small, most+1)
		if over := tooLarge() - before; over != 0 != (len(text) > most) {
			t.Fatalf("inflates to %d bytes and more, %v; %d dropped as too large", len(text), err, over)
		}
		if n := metrics.Value(s.metrics.panics); n != 0 {
			t.Fatalf("%d panics", n)
		}
	})
}

// TestCompressedClients: the official client, whether or not it can inflate, and
// on either transport, gets the same bytes of the same packet.
func TestCompressedClients(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	r := &recorder{event: func(_ *Socket, _ string, args []json.RawMessage, ack func(...any)) { ack(len(args[0])) }}
	_, url := newServer(t, Config{CompressAbove: 1000}, r)
	node := siotest.Start(t)
	var clients []*siotest.Client
	for i, opts := range []siotest.Options{
		{Transports: []string{"websocket"}, PerMessageDeflate: &yes},
		{Transports: []string{"websocket"}, PerMessageDeflate: &no},
		{Transports: []string{"polling"}},
		{PerMessageDeflate: &yes},
	} {
		c := node.Dial(url, opts)
		c.Connected()
		if s := r.socket(t, i); i == 3 {
			waitFor(t, func() bool { return s.Transport() == "websocket" })
		}
		clients = append(clients, c)
	}
	var want []string
	p := new(Packet)
	for n := range 200 {
		p.SetEvent("submissionUpdate", verdict(n*n), fmt.Sprint("1-", n))
		want = append(want, p.String())
		for i := range clients {
			if err := r.socket(t, i).Push(p); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, deflates := range []bool{true, false, false, true} {
		c := r.socket(t, i).conn
		c.mu.Lock()
		if got := c.link != nil && c.link.deflates; got != deflates {
			t.Errorf("client %d: compressed %v, want %v", i, got, deflates)
		}
		c.mu.Unlock()
		for n, w := range want {
			if got := clients[i].Event(); got.Raw != w {
				t.Fatalf("client %d, event %d is %.80q…, want %.80q…", i, n, got.Raw, w)
			}
		}
	}
	// What the client compresses, ws does from 1 kB on.
	large := string(verdict(5000))
	for i, c := range clients {
		if got := join(c.EmitWithAck("say", json.RawMessage(large))); got != fmt.Sprintf("[%d]", len(large)) {
			t.Errorf("client %d: %s of %d bytes have come", i, got, len(large))
		}
	}
}

// TestPollingCompressed: a poll is answered with gzip when it asks for that and there is enough.
func TestPollingCompressed(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, accepts string
		above, size   int
		zipped        bool
	}{
		{"as browsers do", "gzip, deflate, br, zstd", 1000, 5000, true},
		{"small", "gzip", 1000, 500, false},
		{"off", "gzip", 0, 5000, false},
		{"not asked for", "", 1000, 5000, false},
		{"another", "br, deflate", 1000, 5000, false},
		{"weighed", "br, GZIP; q=0.5", 1000, 5000, true},
		{"refused", "gzip;q=0.0, br", 1000, 5000, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := &recorder{}
			_, url := newServer(t, Config{CompressAbove: tc.above}, r)
			c := joinPolling(t, url, "")
			s := r.socket(t, 0)
			p := EventPacket("t", verdict(tc.size), "1-1")
			if err := s.Push(p); err != nil {
				t.Fatal(err)
			}
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, c.url, nil)
			req.Header.Set("Accept-Encoding", tc.accepts) // also when empty: else net/http asks for gzip
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if zipped := resp.Header.Get("Content-Encoding") == "gzip"; zipped != tc.zipped {
				t.Fatalf("header %v", resp.Header)
			}
			if tc.zipped {
				if len(body) > len(p.text)/2 {
					t.Errorf("%d bytes have become %d", len(p.text), len(body))
				}
				in, err := gzip.NewReader(bytes.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				if body, err = io.ReadAll(in); err != nil {
					t.Fatal(err)
				}
			}
			if string(body) != string(p.text) {
				t.Errorf("got %.80q", body)
			}
			waitFor(t, func() bool { return s.Pending() == 0 })
		})
	}
}
