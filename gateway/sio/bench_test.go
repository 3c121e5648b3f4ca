package sio

import (
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"testing"
)

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
