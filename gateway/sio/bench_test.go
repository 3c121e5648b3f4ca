package sio

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cpuTime returns the CPU time of the process, clients of the benchmark included.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkConnect connects and joins by websocket, one client after the other, behind a
// WebsocketListener and behind net/http alone.
func BenchmarkConnect(b *testing.B) {
	request := []byte(usual[1] + "\r\n")
	join := []byte{0x80 | opText, 0x80 | 2, 0, 0, 0, 0, '4', '0'}
	for name, early := range map[string]bool{"listener": true, "nethttp": false} {
		b.Run(name, func(b *testing.B) {
			s := New(Config{}, obedient{}, slog.New(slog.DiscardHandler))
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			addr := l.Addr().String()
			if early {
				l = s.WebsocketListener(l, "/socket.io/", 10*time.Second)
			}
			web := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
			go func() { _ = web.Serve(l) }()
			defer web.Close()
			defer s.Close(b.Context())
			in := bufio.NewReader(nil)
			connect := func() net.Conn {
				nc, err := net.Dial("tcp", addr)
				if err != nil {
					b.Fatal(err)
				}
				in.Reset(nc)
				_, _ = nc.Write(request)
				for line := []byte(nil); len(line) != len("\r\n"); {
					if line, err = in.ReadSlice('\n'); err != nil {
						b.Fatal(err)
					}
				}
				_, _ = nc.Write(join)
				for range 2 { // OPEN and CONNECT
					_, _ = in.ReadByte()
					n, err := in.ReadByte()
					if err != nil {
						b.Fatal(err)
					}
					_, _ = in.Discard(int(n))
				}
				return nc
			}
			b.ReportAllocs()
			var used time.Duration
			const at = 1000 // clients at a time
			for n := 0; n < b.N; n += at {
				var conns []net.Conn
				began := cpuTime()
				for range min(at, b.N-n) {
					conns = append(conns, connect())
				}
				used += cpuTime() - began
				b.StopTimer()
				for _, nc := range conns {
					nc.Close()
				}
				waitFor(b, func() bool { return s.Stats().Websocket == 0 })
				b.StartTimer()
			}
			b.ReportMetric(float64(used.Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

// BenchmarkInbound reads a megabyte that a client sends in fragments of one size.
func BenchmarkInbound(b *testing.B) {
	for _, size := range []int{10, 100, 1000, 1 << 20} {
		b.Run(fmt.Sprintf("fragment=%d", size), func(b *testing.B) {
			came := make(chan struct{}, 1)
			r := &recorder{event: func(*Socket, string, []json.RawMessage, func(...any)) { came <- struct{}{} }}
			s := New(Config{InboundRate: 4 << 20, MaxInbound: 2 << 20}, r, slog.New(slog.DiscardHandler))
			web := httptest.NewServer(s)
			defer web.Close()
			defer s.Close(b.Context())
			c := joinWS(b, web.URL, "")
			text := []byte(`42["e","` + strings.Repeat("x", 1<<20) + `"]`)
			var wire bytes.Buffer
			for op := byte(opText); len(text) > 0; op = 0 {
				n := min(size, len(text))
				header := appendFrameHeader(nil, op, n)
				if header[0] = op; n == len(text) {
					header[0] |= 0x80
				}
				header[1] |= 0x80
				wire.Write(append(header, 0, 0, 0, 0))
				wire.Write(text[:n])
				text = text[n:]
			}
			began := cpuTime()
			for b.Loop() {
				if _, err := c.ws.NetConn().Write(wire.Bytes()); err != nil {
					b.Fatal(err)
				}
				<-came
			}
			b.ReportMetric(float64((cpuTime()-began).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

// BenchmarkQueue gives one packet to each of many sockets, as a batch of messages does: by Push,
// and by Queue with one Flush.
func BenchmarkQueue(b *testing.B) {
	p := EventPacket("submissionUpdate", verdict(300), "1735689600000-42")
	for _, sockets := range []int{10, 200} {
		for _, flush := range []bool{false, true} {
			b.Run(fmt.Sprintf("sockets=%d/flush=%v", sockets, flush), func(b *testing.B) {
				r := &recorder{}
				s := New(Config{MaxPending: 64 << 20}, r, slog.New(slog.DiscardHandler))
				web := httptest.NewServer(s)
				defer web.Close()
				defer s.Close(b.Context())
				for range sockets {
					c := joinWS(b, web.URL, "")
					go func() { _, _ = io.Copy(io.Discard, c.ws.NetConn()) }()
				}
				r.socket(b, sockets-1)
				b.ReportAllocs()
				began := cpuTime()
				for n := 0; n < b.N; n += sockets {
					for _, to := range r.sockets {
						put := to.Push
						if flush {
							put = to.Queue
						}
						if err := put(p); err != nil {
							b.Fatal(err)
						}
					}
					s.Flush()
					for _, to := range r.sockets {
						if err := to.WaitDrained(b.Context(), 1); err != nil {
							b.Fatal(err)
						}
					}
				}
				b.ReportMetric(float64((cpuTime()-began).Nanoseconds())/1e3/float64(b.N), "cpu-µs/op")
			})
		}
	}
}

// BenchmarkPush gives one packet to many sockets over real connections, whose
// clients read all the time, and waits until everything is on its way.
func BenchmarkPush(b *testing.B) {
	payload := fmt.Appendf(nil, `{"submissionId":"sub_123","status":"IN_PROGRESS","testCase":3,"totalTestCases":10,"pad":"%0200d"}`, 0)
	for _, sockets := range []int{1, 100} {
		for _, batch := range []int{1, 16} {
			b.Run(fmt.Sprintf("sockets=%d/batch=%d", sockets, batch), func(b *testing.B) {
				r := &recorder{}
				s := New(Config{MaxPending: 64 << 20}, r, slog.New(slog.DiscardHandler))
				web := httptest.NewServer(s)
				defer web.Close()
				defer s.Close(b.Context())
				for range sockets {
					c := joinWS(b, web.URL, "")
					go io.Copy(io.Discard, c.ws.NetConn())
				}
				r.socket(b, sockets-1)
				b.ReportAllocs()
				b.ResetTimer()
				for n := 0; n < b.N; n += sockets * batch {
					for range batch {
						p := EventPacket("submissionUpdate", payload, "1735689600000-42")
						for _, to := range r.sockets {
							if err := to.Push(p); err != nil {
								b.Fatal(err)
							}
						}
					}
					for _, to := range r.sockets {
						if err := to.WaitDrained(b.Context(), 1); err != nil {
							b.Fatal(err)
						}
					}
				}
				b.StopTimer() // closing waits for clients that do not answer
			})
		}
	}
}

func BenchmarkEventPacket(b *testing.B) {
	payload := fmt.Appendf(nil, `{"pad":"%0280d"}`, 0)
	b.ReportAllocs()
	for b.Loop() {
		EventPacket("submissionUpdate", payload, "1735689600000-42")
	}
}

// BenchmarkCompress makes what a browser is sent of one message, plain and
// compressed. B/msg is what goes out; more browsers of the user cost no more of it.
func BenchmarkCompress(b *testing.B) {
	for _, size := range []int{500, 1000, 2000, 20_000} {
		payload := verdict(size)
		for _, on := range []bool{false, true} {
			b.Run(fmt.Sprintf("bytes=%d/compressed=%v", size, on), func(b *testing.B) {
				var p Packet
				var form []byte
				b.ReportAllocs()
				for b.Loop() {
					p.SetEvent("evaluationComplete", payload, "1735689600000-42")
					if form = p.frame; on {
						form = p.deflated()
					}
				}
				b.ReportMetric(float64(len(form)), "B/msg")
			})
		}
	}
}

// BenchmarkPoll has one polling client fetch what was queued for it.
func BenchmarkPoll(b *testing.B) {
	payload := fmt.Appendf(nil, `{"submissionId":"sub_123","status":"IN_PROGRESS","testCase":3,"totalTestCases":10,"pad":"%0200d"}`, 0)
	p := EventPacket("submissionUpdate", payload, "1735689600000-42")
	for _, batch := range []int{1, 16, 160} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			r := &recorder{}
			s := New(Config{}, r, slog.New(slog.DiscardHandler))
			web := httptest.NewServer(s)
			defer web.Close()
			defer s.Close(b.Context())
			c := joinPolling(b, web.URL, "")
			to := r.socket(b, 0)
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += batch {
				for range batch {
					if err := to.Push(p); err != nil {
						b.Fatal(err)
					}
				}
				c.events(batch)
			}
			b.StopTimer()
		})
	}
}
