package sio

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/codewar/socketbridge/internal/metrics"
)

// obedient is a Handler that remembers nothing and answers whoever asks.
type obedient struct{ joined chan *Socket }

func (obedient) Admit(context.Context, *Socket) *Refusal { return nil }
func (obedient) Restore(context.Context, *Socket, string, string) (Restored, bool) {
	return Restored{}, false
}

func (o obedient) Connect(s *Socket) {
	select {
	case o.joined <- s:
	default:
	}
}

func (obedient) Event(s *Socket, _ string, args []json.RawMessage, ack func(...any)) {
	if ack != nil {
		ack("yes")
	}
	_ = s.Emit("echo", len(args))
}
func (obedient) Disconnect(*Socket, string) {}

// Bits of the byte that begins each step of a fuzzed conversation, beside the
// opcode in the low four. Its length, one byte, and its payload follow.
const (
	stepFin    = 0x10
	stepBare   = 0x20 // not masked, as a client must not
	stepBroken = 0x40 // claims to be longer than anybody allows, or is compressed
	stepRaw    = 0x80 // the payload alone, no frame around it
)

// say turns fuzzed bytes into what a client writes after its handshake.
func say(script []byte) []byte {
	var out []byte
	for len(script) > 0 {
		step := script[0]
		script = script[1:]
		var payload []byte
		if len(script) > 0 {
			n := min(int(script[0]), len(script)-1)
			payload, script = script[1:1+n], script[1+n:]
		}
		if step&stepRaw != 0 {
			out = append(out, payload...)
			continue
		}
		first, mask, length := step&0x0f, byte(0x80), len(payload)
		if step&stepFin != 0 {
			first |= 0x80
		}
		if step&stepBare != 0 {
			mask = 0
		}
		if step&stepBroken != 0 {
			if length%2 == 0 {
				first |= 0x40 // compressed, which nobody has agreed on
			} else {
				out = binary.BigEndian.AppendUint64(append(out, first, mask|127), 1<<62)
				continue
			}
		}
		if length < 126 {
			out = append(out, first, mask|byte(length))
		} else {
			out = binary.BigEndian.AppendUint16(append(out, first, mask|126), uint16(length))
		}
		if mask != 0 {
			out = append(out, 0, 0, 0, 0) // a mask that changes nothing, so that the fuzzer sees its own words
		}
		out = append(out, payload...)
	}
	return out
}

// step is one step of a script.
func step(kind byte, payload string) string {
	return string([]byte{kind, byte(len(payload))}) + payload
}

// FuzzEndpoint drives the websocket endpoint with sequences of frames, good and
// bad. Whatever one client says, nothing panics, its connection ends when it
// leaves, another client receives what it is sent, and nothing is left in memory.
func FuzzEndpoint(f *testing.F) {
	const text = 0x1 | stepFin
	for _, script := range []string{
		step(text, `42["e",1]`) + step(text, `421["e"]`) + step(text, "3") + step(text, "1"),
		step(0x1, `42["fr`) + step(0x9|stepFin, "ping") + step(0x0|stepFin, `ag"]`),
		step(text, "40") + step(text, "42"), step(text, "421"), step(text, "430[]"),
		step(text, `451-["e",{"_placeholder":true,"num":0}]`) + step(0x2|stepFin, "\x04bytes"),
		step(text, "40/admin,") + step(text, "41") + step(text, "42/admin,"),
		step(0x8|stepFin, "\x03\xe8bye"), step(0x8|stepFin, "x"),
		step(0xA|stepFin, "pong") + step(text, "3") + step(text, "3"),
		step(text|stepBare, "3"), step(text|stepBroken, "3"), step(text|stepBroken, "33"),
		step(text, "42[\"\xff\xfe\"]"), step(0x0|stepFin, "3"), step(0x3|stepFin, "3"),
		step(stepRaw, "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\n\r\n"),
		step(text, "2probe") + step(text, "5"), step(text, `40{"pid":"p","offset":"1-1"}`), step(text, "40") + step(text, "40"),
		step(text, `42["e",`+strings.Repeat("[", 200)) + step(text, `4299999999999999999999["e"]`),
		step(0x1, strings.Repeat("x", 250)) + strings.Repeat(step(0x0, strings.Repeat("x", 250)), 8),
	} {
		f.Add(true, []byte(script))
		f.Add(false, []byte(script))
	}

	h := obedient{make(chan *Socket, 1)}
	s, url := newServer(f, Config{MaxInbound: 1000}, h)
	addr := strings.TrimPrefix(url, "http://")
	witness := joinWS(f, url, "")
	told, sent := <-h.joined, 0
	var base uint64
	f.Fuzz(func(t *testing.T, join bool, script []byte) {
		converse(t, addr, join, script, func() {})
		if n := metrics.Value(s.metrics.panics); n != 0 {
			t.Fatalf("%d panics", n)
		}
		push(t, told, sent, sent+1)
		_ = witness.ws.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, got, err := witness.ws.ReadMessage()
		if string(got) == "2" { // a ping, which comes when this goes on for longer
			witness.try("3")
			_, got, err = witness.ws.ReadMessage()
		}
		if want := string(numbered(sent).text); err != nil || string(got) != want {
			t.Fatalf("another client got %.80q, %v, want %q", got, err, want)
		}
		sent++
		if sent%1000 == 0 {
			waitFor(t, func() bool { return s.Stats().Websocket == 1 })
			now := heap()
			if base == 0 {
				base = now
			}
			if now > base+base/10+8<<20 {
				t.Fatalf("%d KB in use after %d conversations, %d KB at first", now>>10, sent, base>>10)
			}
		}
	})
}

// converse opens a websocket, joins or does not, says the script, leaves, and waits
// for the server to close. Once it has joined it waits for joined, too.
func converse(t *testing.T, addr string, join bool, script []byte, joined func()) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
	_, err = io.WriteString(nc, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(nc)
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("handshake: %v %v", res, err)
	}
	if join { // and wait for it: who leaves at once is never told to the Handler
		_, _ = nc.Write(say([]byte(step(0x1|stepFin, "40"))))
		for answer := ""; !strings.HasSuffix(answer, "40{"); {
			if answer, err = in.ReadString('{'); err != nil {
				t.Fatalf("join: %v", err)
			}
		}
		joined()
	}
	_, _ = nc.Write(say(script)) // the server may have hung up in the middle
	_ = nc.(*net.TCPConn).CloseWrite()
	_, err = io.Copy(io.Discard, in)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the server keeps a connection that its client has left")
	}
}

// heap is how much memory is in use when all garbage is gone.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // what pools let go of in the first one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestFuzzScripts: a script that says nothing wrong is taken for what it says, or
// the fuzzer would only see the first check.
func TestFuzzScripts(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	_, url := newServer(t, Config{}, r)
	converse(t, strings.TrimPrefix(url, "http://"), true, []byte(
		step(0x1, `42["fr`)+step(0x9|stepFin, "ping")+step(0x0|stepFin, `ag",1]`)), func() { r.socket(t, 0) }) // who leaves before that is never told to the Handler
	waitFor(t, func() bool { return len(r.lines()) == 3 })
	if got := r.lines()[1]; got != "event frag [1]" {
		t.Errorf("got %q", got)
	}
}
